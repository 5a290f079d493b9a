-- The epoch that there is, or a new one where the head's survival cannot be proven.
-- ARGV: the name for a new one, the schema. Answers: epoch, head, whether it is new, the schema.
local has = redis.call('HMGET', META, 'epoch', 'lineage', 'schema')
local now = lineage()
if not has[1] then
  redis.call('HSET', META, 'epoch', ARGV[1], 'lineage', now, 'schema', ARGV[2], 'head', 0)
  return {ARGV[1], 0, 1, ARGV[2]}
end
if has[3] ~= ARGV[2] then return {has[1], number('head'), 0, has[3]} end
if has[2] == now then return {has[1], number('head'), 0, has[3]} end
redis.call('HSET', META, 'epoch', ARGV[1], 'lineage', now)
return {ARGV[1], number('head'), 1, has[3]}
