-- A node does not live any more. KEYS: the nodes. ARGV: name, boot.
local kept = redis.call('HGET', KEYS[1], ARGV[1])
if kept and string.match(kept, '^%d+ (%x+) ') == ARGV[2] then redis.call('HDEL', KEYS[1], ARGV[1]) end
return 'done'
