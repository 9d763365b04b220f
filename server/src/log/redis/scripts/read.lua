-- ARGV: behind which, bytes. As many entries at once as would fit if all were as large as the largest so far.
local most = tonumber(ARGV[2])
local found, bytes, largest, from = { 'entries' }, 0, 0, '(' .. ARGV[1]
while bytes < most do
    local fitting = largest == 0 and 1 or math.floor((most - bytes) / largest)
    local count = math.max(1, math.min(64, fitting))
    local entries = redis.call('XRANGE', LOG, from, '+', 'COUNT', count)
    for _, entry in ipairs(entries) do
        local size = string.len(entry[2][4])
        if bytes > 0 and bytes + size > most then return found end
        bytes, largest = bytes + math.max(1, size), math.max(largest, size)
        table.insert(found, entry[1])
        table.insert(found, entry[2][2])
        table.insert(found, entry[2][4])
    end
    if #entries < count then return found end
    from = '(' .. entries[#entries][1]
end
return found
