-- ARGV: node, position.
if not is_agreed then
    if not is_reported() then
        redis.call('DEL', REPORTS)
        redis.call('HSET', REPORTS, 'of', incarnation, 'since', string.format('%.0f', now_ms()))
    end
    redis.call('HSET', REPORTS, 'n:' .. ARGV[1], ARGV[2])
end
return look()
