-- ARGV: claim, how long it lasts in milliseconds, incarnation.
if is_agreed or ARGV[3] ~= incarnation then return 'fenced' end
local mine = incarnation .. ' ' .. ARGV[1]
local held = redis.call('GET', CLAIM)
if held and held ~= mine and string.sub(held, 1, #incarnation) == incarnation then return 'fenced' end
redis.call('SET', CLAIM, mine, 'PX', ARGV[2])
return 'done'
