"""The Lua that makes a step on one partition atomic. Every key of a script has the same hash tag.

`#!lua` without `allow-oom` makes the server refuse the whole script when its memory is full, before the first write.
Results are stream ids, or one letter: D duplicate, C conflict, E erased, or `A` + the canonical customer id.
"""

from typing import Final

_OLDER: Final = """
local function parts(id) local ms, seq = string.match(id, '^(%d+)-(%d+)$'); return tonumber(ms), tonumber(seq) end
local function newer(a, b)
  local am, as = parts(a)
  local bm, bs = parts(b)
  return am > bm or (am == bm and as > bs)
end
"""

# KEYS journal, meta; ARGV prefix, fresh epoch, seconds an id is remembered, tail rows, seconds a tail lives,
# then per event: id hash, content digest, customer id, journal bytes, tail row or '', lane, digest of the customer id.
APPEND_EVENTS: Final = (
    "#!lua\n"
    + _OLDER
    + """
redis.call('HSETNX', KEYS[2], 'epoch', ARGV[2])
local prefix, results, lanes, last = ARGV[1], {}, {}, {}
for i = 6, #ARGV, 7 do
  local customer = ARGV[i + 2]
  local alias = redis.call('HGET', prefix .. 'c:' .. customer, 'alias')
  local result
  if redis.call('SISMEMBER', prefix .. 'g', ARGV[i + 6]) == 1 then
    result = 'E'
  elseif alias then
    result = 'A' .. alias
  else
    local before = redis.call('SET', prefix .. 'e:' .. ARGV[i], ARGV[i + 1], 'NX', 'GET', 'EX', ARGV[3])
    if not before then
      result = redis.call('XADD', KEYS[1], '*', 'j', ARGV[i + 3])
      last[customer] = result
      if ARGV[i + 4] ~= '' then
        local lane = prefix .. ARGV[i + 5] .. ':' .. customer
        local ms, seq = parts(result)
        redis.call('RPUSH', lane, struct.pack('>I8I4', ms, seq) .. ARGV[i + 4])
        lanes[lane] = true
      end
    elseif before == ARGV[i + 1] then
      result = 'D'
    else
      result = 'C'
    end
  end
  results[#results + 1] = result
end
for lane in pairs(lanes) do
  redis.call('LTRIM', lane, -tonumber(ARGV[4]), -1)
  redis.call('EXPIRE', lane, ARGV[5])
end
for customer, id in pairs(last) do redis.call('HSET', prefix .. 'c:' .. customer, 'last', id) end
return results
"""
)

# KEYS customer, tail, exposures, meta, erased; ARGV epoch and id of the release's watermark, digest of the customer id.
# Returns {status, epoch, customer fields, versions, tail rows, exposure rows}; status: ok, off, gone, or alias.
READ: Final = (
    "#!lua flags=no-writes\n"
    + _OLDER
    + """
local meta = redis.call('HGETALL', KEYS[4])
local epoch = redis.call('HGET', KEYS[4], 'epoch') or ''
local mark = redis.call('HMGET', KEYS[1], 'alias', 'off')
if redis.call('SISMEMBER', KEYS[5], ARGV[3]) == 1 then return {'gone', epoch, {}, meta, '', ''} end
if mark[1] then return {'alias', epoch, {'alias', mark[1]}, meta, '', ''} end
local fields = redis.call('HGETALL', KEYS[1])
if mark[2] == '1' then
  local kept = {}
  for i = 1, #fields, 2 do
    if string.sub(fields[i], 1, 2) == 'n:' then
      kept[#kept + 1] = fields[i]
      kept[#kept + 1] = fields[i + 1]
    end
  end
  return {'off', epoch, kept, meta, '', ''}
end
local after = '0-0'
if epoch == ARGV[1] then after = ARGV[2] end
local after_ms, after_seq = parts(after)
local function fresh(key)
  local rows = redis.call('LRANGE', key, 0, -1)
  local first = #rows + 1
  while first > 1 do
    local ms, seq = struct.unpack('>I8I4', rows[first - 1])
    if ms < after_ms or (ms == after_ms and seq <= after_seq) then break end
    first = first - 1
  end
  return table.concat(rows, '', first)
end
return {'ok', epoch, fields, meta, fresh(KEYS[2]), fresh(KEYS[3])}
"""
)

# KEYS journal, meta, decision, erased; ARGV fresh epoch, digest, journal bytes, seconds an id is remembered, digest of
# the customer id.
LOG_DECISION: Final = """#!lua
if redis.call('SISMEMBER', KEYS[4], ARGV[5]) == 1 then return 'E' end
redis.call('HSETNX', KEYS[2], 'epoch', ARGV[1])
local before = redis.call('GET', KEYS[3])
if before then
  if string.sub(before, 1, #ARGV[2]) == ARGV[2] then return 'D' end
  return 'C'
end
local id = redis.call('XADD', KEYS[1], '*', 'j', ARGV[3])
redis.call('SET', KEYS[3], ARGV[2] .. id, 'EX', ARGV[4])
return id
"""

# KEYS journal, meta, customer, erased; ARGV fresh epoch, journal bytes, live field, live value, digest of the customer
# id.
PUT_CUSTOMER: Final = """#!lua
if redis.call('SISMEMBER', KEYS[4], ARGV[#ARGV]) == 1 then return 'E' end
redis.call('HSETNX', KEYS[2], 'epoch', ARGV[1])
local alias = redis.call('HGET', KEYS[3], 'alias')
if alias then return 'A' .. alias end
local id = redis.call('XADD', KEYS[1], '*', 'j', ARGV[2])
redis.call('HSET', KEYS[3], ARGV[3], ARGV[4], 'last', id)
return id
"""

# KEYS journal, meta, customer, erased; ARGV fresh epoch, journal bytes, field, time (µs), state, live value, purpose,
# digest of the customer id.
# The word with the later time holds; of two at the same time, `off` (the strictest) does.
PUT_CONSENT: Final = """#!lua
if redis.call('SISMEMBER', KEYS[4], ARGV[#ARGV]) == 1 then return 'E' end
redis.call('HSETNX', KEYS[2], 'epoch', ARGV[1])
local mark = redis.call('HMGET', KEYS[3], 'alias', ARGV[3])
if mark[1] then return 'A' .. mark[1] end
local id = redis.call('XADD', KEYS[1], '*', 'j', ARGV[2])
local said = mark[2] and tonumber(string.match(mark[2], '^(-?%d+)')) or nil
local at = tonumber(ARGV[4])
if said == nil or at > said or (at == said and ARGV[5] == 'off') then
  redis.call('HSET', KEYS[3], ARGV[3], ARGV[6], 'last', id)
  if ARGV[7] == 'personalization' then redis.call('HSET', KEYS[3], 'off', ARGV[5] == 'off' and '1' or '0') end
end
return id
"""

# KEYS journal, meta, rows; ARGV fresh epoch, then per row: field, journal bytes. Returns the last stream id.
PUT_CATALOGUE: Final = """#!lua
redis.call('HSETNX', KEYS[2], 'epoch', ARGV[1])
local id
for i = 2, #ARGV, 2 do
  id = redis.call('XADD', KEYS[1], '*', 'j', ARGV[i + 1])
  redis.call('HSET', KEYS[3], ARGV[i], ARGV[i + 1])
end
redis.call('HSET', KEYS[2], 'catalogue', id)
return id
"""

# KEYS meta; ARGV counter name, version (a stream id). A version never steps back.
ANNOUNCE: Final = (
    "#!lua\n"
    + _OLDER
    + """
local before = redis.call('HGET', KEYS[1], ARGV[1])
if not before or newer(ARGV[2], before) then redis.call('HSET', KEYS[1], ARGV[1], ARGV[2]) end
return 1
"""
)

# KEYS lock, counter; ARGV owner, ms. Returns the fencing token, or 0 when another holds the lock.
ELECT: Final = """#!lua
local holder = redis.call('HGET', KEYS[1], 'owner')
if holder and holder ~= ARGV[1] then return 0 end
if not holder then redis.call('HSET', KEYS[1], 'owner', ARGV[1], 'token', redis.call('INCR', KEYS[2])) end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return tonumber(redis.call('HGET', KEYS[1], 'token'))
"""

# KEYS lock; ARGV owner.
RESIGN: Final = """#!lua
if redis.call('HGET', KEYS[1], 'owner') == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 1
"""

# KEYS journal, meta; ARGV epoch, smallest id to keep. An emptied server is not trimmed by what its former life drained.
TRIM: Final = """#!lua
if redis.call('HGET', KEYS[2], 'epoch') ~= ARGV[1] then return 0 end
return redis.call('XTRIM', KEYS[1], 'MINID', ARGV[2])
"""

# KEYS meta, erased; ARGV prefix, digest of the customer id, customer id or '' (then only the tombstone is set).
# From this step on nothing of the customer is read or taken in. Returns how many keys went.
FORGET: Final = """#!lua flags=allow-oom
redis.call('SADD', KEYS[2], ARGV[2])
if ARGV[3] == '' then return 0 end
local gone = 0
for _, kind in ipairs({'c:', 't:', 'x:'}) do gone = gone + redis.call('DEL', ARGV[1] .. kind .. ARGV[3]) end
return gone
"""

# KEYS journal; ARGV prefix, then per entry: stream id, decision id or ''. Returns how many entries went.
REMOVE_ENTRIES: Final = """#!lua flags=allow-oom
local gone = 0
for i = 2, #ARGV, 2 do
  gone = gone + redis.call('XDEL', KEYS[1], ARGV[i])
  if ARGV[i + 1] ~= '' then redis.call('DEL', ARGV[1] .. 'd:' .. ARGV[i + 1]) end
end
return gone
"""

# KEYS customer; ARGV bytes of the profile as read, bytes to put in its place. A profile that came meanwhile stays.
REPLACE_PROFILE: Final = """#!lua
if redis.call('HGET', KEYS[1], 'attr') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'attr', ARGV[2])
return 1
"""
