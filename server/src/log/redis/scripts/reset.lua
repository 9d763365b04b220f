-- ARGV: claim, how long it lasts in milliseconds, base.
if not split(ARGV[3]) or not holds(ARGV[1], ARGV[2]) then return 'fenced' end
redis.call('DEL', LOG)
redis.call('HSET', META, 'base', ARGV[3], 'last', ARGV[3])
return 'done'
