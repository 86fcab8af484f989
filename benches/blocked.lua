-- A wrk script of benches/run: attempts to log in with a wrong password. Arguments: IDENTIFIER PAUSE. Each connection waits
-- PAUSE milliseconds before each request. A response with a status other than 429 counts as failed.

local print_result = require("result")
local attempt, other = nil, 0
local threads = {}

function setup(thread)
  threads[#threads + 1] = thread
end

function init(args)
  local pause = tonumber(args[2])
  if pause > 0 then
    delay = function() return pause end
  end
  local body = '{"identifier":"' .. args[1] .. '","password":"not the password"}'
  attempt = wrk.format("POST", "/api/v1/auth/login", { ["Content-Type"] = "application/json" }, body)
  failed = 0
end

function request()
  return attempt
end

function response(status)
  if status ~= 429 then failed = failed + 1 end
end

function done(summary, latency)
  local errors = summary.errors
  for _, thread in ipairs(threads) do other = other + thread:get("failed") end
  print_result(summary, latency, errors.connect + errors.read + errors.write + errors.timeout + other)
end
