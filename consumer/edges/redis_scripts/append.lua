-- Takes a batch that was judged by what its keys stood at, if they still stand so: compare, store,
-- publish, trim, as one step. Whatever makes the server refuse does so at the first write.
-- ARGV: epoch, fence ('' where none is asked for), how many entries to keep, how many more than
--   that there may be, whether there is anything to write (or to wait for), and counts of what
--   follows:
--   keys: key, revision, latest_ms, ended, standing ('': only judged by), payload ('': it stays)
--   entries: number of the key, late, time_ms, payload
--   identities: identity, time_ms ('': not to be remembered)
-- Answers: {'taken', head, revision}, {'epoch'}, {'fenced'}, or {'stale', keys, identities}: those
--   that are no longer as the batch was judged by.
local epoch, fence, keep, slack = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local keys, entries, identities = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
if not is_current(epoch) then return {'epoch'} end
if fence ~= '' and fence ~= redis.call('HGET', META, 'fence') then return {'fenced'} end

local at = 8
local of_keys, of_entries = at, at + 6 * keys
local of_identities = of_entries + 4 * entries
local stale, seen = {}, {}
local place, last = {}, {}
for n = 1, keys do
  local key = ARGV[of_keys + 6 * n - 5]
  local has = redis.call('HGET', STANDINGS, key) or '0 0 0'
  local revision, its_place, its_last = string.match(has, '^(%d+) (%d+) (%d+)')
  if revision ~= ARGV[of_keys + 6 * n - 4] then stale[#stale + 1] = key end
  place[n], last[n] = tonumber(its_place), tonumber(its_last)
end
for n = 1, identities do
  local identity = ARGV[of_identities + 2 * n - 1]
  if redis.call('ZSCORE', SEEN, identity) then seen[#seen + 1] = identity end
end
if #stale > 0 or #seen > 0 then return {'stale', stale, seen} end
if ARGV[5] == '0' then return {'taken', number('head'), 0} end

local revision = redis.call('HINCRBY', META, 'revision', 1)
local head = number('head')
for n = 1, entries do
  local first = of_entries + 4 * n - 3
  local key, late = tonumber(ARGV[first]), ARGV[first + 1]
  head = head + 1
  redis.call('XADD', STREAM, id(head), 'epoch', epoch, 'previous', string.format('%d', last[key]),
    'late', late, 'time_ms', ARGV[first + 2], 'event', ARGV[first + 3])
  last[key] = head
  if late == '0' then place[key] = head end
end
for n = 1, keys do
  local first = of_keys + 6 * n - 5
  local key, latest_ms, ended = ARGV[first], ARGV[first + 2], ARGV[first + 3]
  local standing, payload = ARGV[first + 4], ARGV[first + 5]
  if standing ~= '' then
    redis.call('HSET', STANDINGS, key, string.format(
      '%d %d %d %s %s %s', revision, place[n], last[n], latest_ms, ended, standing))
    if payload ~= '' then
      redis.call('HSET', NEWEST, key, string.format('%d ', place[n]) .. payload)
    end
    if ended == '1' then
      redis.call('ZADD', ENDED, latest_ms, key)
    else
      redis.call('ZREM', ENDED, key)
    end
  end
end
for n = 1, identities do
  local first = of_identities + 2 * n - 1
  if ARGV[first + 1] ~= '' then redis.call('ZADD', SEEN, ARGV[first + 1], ARGV[first]) end
end
if entries > 0 then
  redis.call('HSET', META, 'head', head)
  local floor = number('floor')
  if head - floor > keep + slack then
    floor = head - keep
    redis.call('HSET', META, 'floor', floor)
    redis.call('XTRIM', STREAM, 'MINID', '~', id(floor + 1))
  end
end
return {'taken', head, revision}
