-- Kept entries of a key, newest first: each names the place of the one before it.
-- ARGV: epoch, key, upto, the most to answer with. Answers: {'read', entries} or {'epoch'}.
if not is_current(ARGV[1]) then return {'epoch'} end
local upto, most, floor = tonumber(ARGV[3]), tonumber(ARGV[4]), number('floor')
local standing = redis.call('HGET', STANDINGS, ARGV[2]) or '0 0 0'
local place = tonumber(string.match(standing, '^%d+ %d+ (%d+)'))
local found = {}
while place > floor and #found < most do
  local entry = redis.call('XRANGE', STREAM, id(place), id(place))[1]
  if not entry then break end
  if place <= upto then found[#found + 1] = entry end
  place = tonumber(entry[2][4]) -- epoch, its value, previous, its value
end
return {'read', found}
