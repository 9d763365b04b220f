-- ARGV: claim, how long it lasts in milliseconds, incarnation.
if ARGV[3] ~= incarnation then return 'fenced' end
local mine = incarnation .. ' ' .. ARGV[1]
local held = redis.call('GET', CLAIM)
if held and held ~= mine and string.sub(held, 1, #incarnation) == incarnation then return 'fenced' end
redis.call('SET', CLAIM, mine, 'PX', ARGV[2])
-- Nothing is taken until it is agreed on again.
if is_agreed then redis.call('HSET', META, 'incarnation', '') end
return 'done'
