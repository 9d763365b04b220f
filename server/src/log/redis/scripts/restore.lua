-- ARGV: claim, how long it lasts in milliseconds, then of each entry the one before, its position, payload.
local before = last
for i = 3, #ARGV, 3 do
    local place = ARGV[i + 1]
    if ARGV[i] ~= before or not split(place) or not is_before(before, place) then return 'fenced' end
    before = place
end
if not holds(ARGV[1], ARGV[2]) then return 'fenced' end
for i = 3, #ARGV, 3 do
    redis.call('XADD', LOG, ARGV[i + 1], 'b', ARGV[i], 'p', ARGV[i + 2])
end
redis.call('HSET', META, 'base', base, 'last', before)
return 'done'
