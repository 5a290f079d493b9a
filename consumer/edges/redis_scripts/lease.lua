-- Takes the lead, or keeps it, or (for 0 ms) gives it back. By the server's clock: it is the one
-- that all ask. ARGV: who asks, for how many ms.
-- Answers: the fence, which is greater for each new leader, or '' and how many ms another leads on.
local now = redis.call('TIME')
local now_ms = tonumber(now[1]) * 1000 + math.floor(tonumber(now[2]) / 1000)
local has = redis.call('HMGET', META, 'leader', 'leads_until_ms', 'fence')
local until_ms = tonumber(has[2] or '0')
if has[1] ~= ARGV[1] and until_ms > now_ms then return {'', until_ms - now_ms} end
if ARGV[2] == '0' then
  if has[1] == ARGV[1] then redis.call('HDEL', META, 'leader', 'leads_until_ms') end
  return {'', 0}
end
local fence = has[3] or '0'
if has[1] ~= ARGV[1] then fence = redis.call('HINCRBY', META, 'fence', 1) end
redis.call('HSET', META, 'leader', ARGV[1],
  'leads_until_ms', string.format('%d', now_ms + tonumber(ARGV[2])))
return {tostring(fence), tonumber(ARGV[2])}
