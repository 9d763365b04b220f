-- ARGV: up to and with which. The base is an entry that was there, so that the next one names it.
if not is_agreed or not split(ARGV[1]) then return 'fenced' end
local upto = is_before(last, ARGV[1]) and last or ARGV[1]
local found = redis.call('XREVRANGE', LOG, upto, '-', 'COUNT', 1)
if #found == 0 then return 'done' end
local e, o = split(found[1][1])
redis.call('XTRIM', LOG, 'MINID', '=', string.format('%.0f', e) .. '-' .. behind(o))
redis.call('HSET', META, 'base', found[1][1])
return 'done'
