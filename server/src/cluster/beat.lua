-- A node says that it lives, and hears who else does. KEYS: the nodes. ARGV: name, boot, directory, when it started, how long it
-- lives without another beat (both in milliseconds), what it says. Of a node is kept `until boot directory started says`.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local nodes = redis.call('HGETALL', KEYS[1])
local others = { 'nodes' }
for i = 1, #nodes, 2 do
    local till, boot, directory, started, says =
        string.match(nodes[i + 1], '^(%d+) (%x+) (%x+) (%d+) (.*)$')
    if not till or tonumber(till) < now then
        redis.call('HDEL', KEYS[1], nodes[i])
    elseif nodes[i] == ARGV[1] then
        -- The same directory, started again, is the same node. One that was copied is not: who started last stays.
        started = tonumber(started)
        local later = started > tonumber(ARGV[4]) or (started == tonumber(ARGV[4]) and boot > ARGV[2])
        if boot ~= ARGV[2] and (directory ~= ARGV[3] or later) then return { 'taken', says } end
    else
        table.insert(others, nodes[i])
        table.insert(others, says)
    end
end
local till = string.format('%.0f', now + tonumber(ARGV[5]))
redis.call('HSET', KEYS[1], ARGV[1], table.concat({ till, ARGV[2], ARGV[3], ARGV[4], ARGV[6] }, ' '))
return others
