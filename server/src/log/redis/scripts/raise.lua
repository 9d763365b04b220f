-- ARGV: claim, how long it lasts in milliseconds, cluster, the one before, position, payload.
local raised = split(ARGV[5])
if ARGV[4] ~= last or not raised or not is_before(last, ARGV[5]) then return 'fenced' end
if raised <= split(last) or (epoch and raised <= tonumber(epoch)) then return 'fenced' end
if not holds(ARGV[1], ARGV[2]) then return 'fenced' end
redis.call('XADD', LOG, ARGV[5], 'b', last, 'p', ARGV[6])
redis.call('HSET', META, 'cluster', ARGV[3], 'incarnation', incarnation, 'epoch', string.format('%.0f', raised),
    'base', base, 'last', ARGV[5])
redis.call('DEL', BATCHES, REPORTS, CLAIM)
return 'done'
