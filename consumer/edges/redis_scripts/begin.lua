-- Every script begins with this.
--
-- meta       epoch, lineage, head, floor, revision; who leads, until when, and its fence
-- stream     entries: the ID is `<place>-0`
-- standings  key → `<revision> <place> <last> <latest_ms> <ended> <standing>`
-- newest     key → `<place> <payload>`
-- seen       identities other than publish steps, by the ms from which they grow old
-- ended      keys that ended, by the latest ms that any of their events told
--
-- The lineage is the server's replication id. A restart and a promotion each give it a new one, so
-- a head of another lineage may have lost its tail: it is nothing that can be gone on with.
local META, STREAM, STANDINGS, NEWEST, SEEN, ENDED = unpack(KEYS)

local function lineage()
  return string.match(redis.call('INFO', 'replication'), 'master_replid:(%w+)')
end

local function is_current(epoch)
  local has = redis.call('HMGET', META, 'epoch', 'lineage')
  return has[1] == epoch and has[2] == lineage()
end

local function number(name)
  return tonumber(redis.call('HGET', META, name) or '0')
end

local function id(place)
  return string.format('%d-0', place)
end
