-- The wrk script of benches/run and benches/compare: sends requests of one kind, each with the next token of a
-- list. Arguments: METHOD PATHS TOKENS PAUSE [BODY]. PATHS are separated by commas and used in turn. TOKENS is
-- a file with one token per line, followed by a tab and an entity tag for a conditional request. Each
-- connection waits PAUSE milliseconds before each request. With BODY, the text after the tab is not an entity
-- tag, but replaces OWNER in BODY.

local print_result = require("result")
local requests, at = {}, 0

function init(args)
  local method, paths, tokens = args[1], args[2], args[3]
  local pause = tonumber(args[4])
  if pause > 0 then
    -- Define this function only for a pause: if it is defined, wrk sets a timer for every request.
    delay = function() return pause end
  end
  local body, headers, with_owner = nil, {}, args[5]
  if method == "POST" then
    headers["Content-Type"] = "application/json"
    body = '{"title":"Ten days along the coast","destination":"Lisbon"}'
  end
  local function add()
    for path in string.gmatch(paths, "[^,]+") do
      requests[#requests + 1] = wrk.format(method, path, headers, body)
    end
  end
  for line in io.lines(tokens) do
    local token, second = string.match(line, "^([^\t]+)\t?(.*)$")
    headers["Authorization"] = "Bearer " .. token
    if with_owner then
      body = string.gsub(with_owner, "OWNER", second)
    else
      headers["If-None-Match"] = second ~= "" and second or nil
    end
    add()
  end
  -- The threads start at different positions of the list.
  math.randomseed(tonumber(tostring(requests):match("0x(%x+)"), 16) % 2147483647)
  at = math.random(#requests)
end

function request()
  at = at % #requests + 1
  return requests[at]
end

function done(summary, latency)
  local errors = summary.errors
  print_result(summary, latency, errors.connect + errors.read + errors.write + errors.status + errors.timeout)
end
