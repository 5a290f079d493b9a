-- Entries after a place, up to another ('+': to the end). ARGV: epoch, after, upto, count.
-- Answers: {'read', entries}, {'epoch'} or {'trimmed', floor}.
if not is_current(ARGV[1]) then return {'epoch'} end
local floor = number('floor')
if tonumber(ARGV[2]) < floor then return {'trimmed', floor} end
local upto = ARGV[3] == '+' and '+' or id(tonumber(ARGV[3]))
return {'read', redis.call('XRANGE', STREAM, '(' .. id(tonumber(ARGV[2])), upto, 'COUNT', ARGV[4])}
