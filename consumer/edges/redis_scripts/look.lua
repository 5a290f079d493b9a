-- What keys stand at, to judge by; checked again when what was judged is appended.
-- ARGV: keys. Answers: their standings, and their newest.
return {redis.call('HMGET', STANDINGS, unpack(ARGV)), redis.call('HMGET', NEWEST, unpack(ARGV))}
