-- ARGV: nothing.
return look()
