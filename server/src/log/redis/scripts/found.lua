-- ARGV: cluster, epoch, base. Reports and a claim are of nodes that have a cluster, whose log was lost: it is theirs.
if is_agreed and cluster == ARGV[1] and epoch == ARGV[2] then return 'done' end
if cluster or redis.call('EXISTS', LOG) == 1 or is_reported() then return 'fenced' end
local held = redis.call('GET', CLAIM)
if held and string.sub(held, 1, #incarnation) == incarnation then return 'fenced' end
local e = split(ARGV[3])
if not e or tonumber(ARGV[2]) < e then return 'fenced' end
redis.call('HSET', META, 'cluster', ARGV[1], 'incarnation', incarnation, 'epoch', ARGV[2], 'base', ARGV[3],
    'last', ARGV[3])
redis.call('DEL', BATCHES, REPORTS, CLAIM)
return 'done'
