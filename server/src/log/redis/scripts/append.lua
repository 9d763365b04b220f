-- ARGV: epoch, the last that the node has seen, node, batch, payload.
if not is_agreed or epoch ~= ARGV[1] or not split(ARGV[2]) or is_before(last, ARGV[2]) then return 'fenced' end
local had = redis.call('HGET', BATCHES, ARGV[3])
if had then
    local batch, place = string.match(had, '^(%x+) (.+)$')
    if batch == ARGV[4] then return { 'placed', place } end
    -- Whoever asked this did not know of its last batch yet: it is an old one, by a connection that was given up.
    if is_before(ARGV[2], place) then return 'fenced' end
end
local _, offset = split(last)
local place = epoch .. '-' .. behind(offset)
-- First what may fail.
redis.call('XADD', LOG, place, 'b', last, 'p', ARGV[5])
redis.call('HSET', META, 'last', place)
redis.call('HSET', BATCHES, ARGV[3], ARGV[4] .. ' ' .. place)
return { 'placed', place }
