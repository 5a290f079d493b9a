-- Drops some of what is past retention. ARGV: epoch, horizon_ms, how many entries to keep, the most
-- to drop of each. Answers: {'pruned', whether there is more} or {'epoch'}.
if not is_current(ARGV[1]) then return {'epoch'} end
local horizon_ms, keep, most = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local before = '(' .. ARGV[2]
local head, floor = number('head'), number('floor')
local more = 0

-- Places are trimmed from the beginning only: what is left is everything after the floor.
local kept_from = floor
local oldest = redis.call('XRANGE', STREAM, id(floor + 1), '+', 'COUNT', most)
for _, entry in ipairs(oldest) do
  if tonumber(entry[2][8]) >= horizon_ms then break end
  kept_from = tonumber(string.match(entry[1], '^%d+'))
end
if #oldest == most and kept_from == floor + most then more = 1 end
kept_from = math.max(kept_from, head - keep)
if kept_from > floor then
  redis.call('HSET', META, 'floor', kept_from)
  redis.call('XTRIM', STREAM, 'MINID', '~', id(kept_from + 1))
end

local seen = redis.call('ZRANGEBYSCORE', SEEN, '-inf', before, 'LIMIT', 0, most)
if #seen > 0 then redis.call('ZREM', SEEN, unpack(seen)) end
local ended = redis.call('ZRANGEBYSCORE', ENDED, '-inf', before, 'LIMIT', 0, most)
if #ended > 0 then
  redis.call('ZREM', ENDED, unpack(ended))
  redis.call('HDEL', STANDINGS, unpack(ended))
  redis.call('HDEL', NEWEST, unpack(ended))
end
if #seen == most or #ended == most then more = 1 end
return {'pruned', more}
