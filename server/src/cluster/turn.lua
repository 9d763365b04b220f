-- Whose turn it is to append again what several nodes may have. KEYS: the turn. ARGV: who asks, by which word (another one
-- when it may have lost the turn), for how long (in milliseconds; 0 gives it back). Whoever has it, has it for as long again.
-- Answers 0 if it is another one's, 2 if whoever asks has had it ever since they asked by this word first, otherwise 1.
local name, holder = ARGV[1] .. ' ', redis.call('GET', KEYS[1])
local own = name .. ARGV[2]
if holder and string.sub(holder, 1, #name) ~= name then return 0 end
if ARGV[3] == '0' then
    redis.call('DEL', KEYS[1])
else
    redis.call('SET', KEYS[1], own, 'PX', ARGV[3])
end
return holder == own and 2 or 1
