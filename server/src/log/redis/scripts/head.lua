-- What every script of the log begins with: which process this is, and how the log stands. A position is `epoch-offset`
-- in decimal; less than 2^53, so that Lua's numbers hold it.
local LOG, META, BATCHES, REPORTS, CLAIM = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local ZERO = '1-0'

local replication = redis.call('INFO', 'replication')
if string.match(replication, 'role:(%a+)') ~= 'master' then
    return redis.error_reply('READONLY this Redis is a replica')
end
-- A master that was made a replica and promoted again is the same process, and may have lost what nobody else had: its
-- replication id is another one then.
local incarnation = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)') ..
    '-' .. string.match(replication, 'master_replid:(%w+)')

local meta = redis.call('HMGET', META, 'cluster', 'incarnation', 'epoch', 'base', 'last')
local cluster, agreed, epoch = meta[1], meta[2], meta[3]
local base = meta[4] or ZERO
local last = meta[5] or base
local is_agreed = cluster and agreed == incarnation

-- Epoch and offset; nothing if it is no position.
local function split(position)
    local e, o = string.match(position, '^(%d+)%-(%d+)$')
    e, o = tonumber(e), tonumber(o)
    if e and o and e < 4294967296 and o < 9007199254740991 then return e, o end
end

local function is_before(a, b)
    local ae, ao = split(a)
    local be, bo = split(b)
    return ae < be or (ae == be and ao < bo)
end

local function behind(offset) return string.format('%.0f', offset + 1) end

-- Whether this claim holds this incarnation; then it does for so long again.
local function holds(claim, ms)
    if redis.call('GET', CLAIM) ~= incarnation .. ' ' .. claim then return false end
    redis.call('PEXPIRE', CLAIM, ms)
    return true
end

local function now_ms()
    local time = redis.call('TIME')
    return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Whether somebody has reported to this incarnation.
local function is_reported() return redis.call('HGET', REPORTS, 'of') == incarnation end

local function look()
    local reported_for, reports = 0, {}
    if is_reported() then
        local had = redis.call('HGETALL', REPORTS)
        for i = 1, #had, 2 do
            if had[i] == 'since' then
                reported_for = math.max(0, now_ms() - had[i + 1])
            elseif string.sub(had[i], 1, 2) == 'n:' then
                table.insert(reports, string.sub(had[i], 3))
                table.insert(reports, had[i + 1])
            end
        end
    end
    return { 'look', incarnation, cluster or '', agreed or '', epoch or '', base, last,
        string.format('%.0f', reported_for), unpack(reports) }
end

