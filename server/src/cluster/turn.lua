-- Whose turn it is to append again what several nodes may have. KEYS: the turn. ARGV: who asks, for how long (in milliseconds; 0
-- gives it back). Whoever has it, has it for as long again.
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
if ARGV[2] == '0' then
    redis.call('DEL', KEYS[1])
else
    redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
end
return 1
