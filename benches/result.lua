-- Prints the result of a wrk script as one line of JSON after `RESULT`.
return function(summary, latency, failed)
  io.write(string.format(
    'RESULT {"per_second": %.1f, "requests": %d, "failed": %d, "p50_ms": %.3f, "p99_ms": %.3f}\n',
    summary.requests / summary.duration * 1e6, summary.requests, failed,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000))
end
