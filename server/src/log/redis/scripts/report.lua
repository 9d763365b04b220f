-- ARGV: node, position, how long reports last behind the last one, in milliseconds.
if not is_reported() then
    redis.call('DEL', REPORTS)
    redis.call('HSET', REPORTS, 'of', incarnation, 'since', string.format('%.0f', now_ms()))
end
redis.call('HSET', REPORTS, 'n:' .. ARGV[1], ARGV[2])
redis.call('PEXPIRE', REPORTS, ARGV[3])
return look()
