"""The Lua that makes a step on one partition atomic. Every key of a script has the same hash tag.

`#!lua` without `allow-oom` makes the server refuse the whole script when its memory is full, before the first write;
what only frees memory, and the election without which nobody may free it, goes on when it is full.
Results are stream ids, or one letter: D duplicate, C conflict, E erased, or `A` + the customer an id belongs to.
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

_FRESH: Final = """
local function fresh(key, after)
  local after_ms, after_seq = parts(after)
  local rows = redis.call('LRANGE', key, 0, -1)
  local first = #rows + 1
  while first > 1 do
    local ms, seq = struct.unpack('>I8I4', rows[first - 1])
    if ms < after_ms or (ms == after_ms and seq <= after_seq) then break end
    first = first - 1
  end
  return table.concat(rows, '', first)
end
"""

# A stream id for what changes a customer without an entry in the journal: the lake has it already.
_STAMP: Final = """
local function stamp()
  local t = redis.call('TIME')
  return string.format('%d-0', tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000))
end
"""

# Whose live profile names which groups, kept both ways: hash `m` customer → groups, set `m:<group>` of customers.
_JOIN: Final = """
local function join(prefix, who, groups)
  local before = redis.call('HGET', prefix .. 'm', who)
  if before then
    for _, group in ipairs(cjson.decode(before)) do redis.call('SREM', prefix .. 'm:' .. group, who) end
  end
  if type(groups) == 'table' and #groups > 0 then
    for _, group in ipairs(groups) do redis.call('SADD', prefix .. 'm:' .. group, who) end
    redis.call('HSET', prefix .. 'm', who, cjson.encode(groups))
  elseif before then
    redis.call('HDEL', prefix .. 'm', who)
  end
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
    -- What was told under this id before it became another's is known here, and only here.
    local before = redis.call('GET', prefix .. 'e:' .. ARGV[i])
    result = before and (before == ARGV[i + 1] and 'D' or 'C') or 'A' .. alias
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
    + _FRESH
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
local after = epoch == ARGV[1] and ARGV[2] or '0-0'
return {'ok', epoch, fields, meta, fresh(KEYS[2], after), fresh(KEYS[3], after)}
"""
)

# KEYS tail, exposures, meta of an id that became another's; ARGV as READ. Returns {tail rows, exposure rows}.
READ_TAIL: Final = (
    "#!lua flags=no-writes\n"
    + _OLDER
    + _FRESH
    + """
local after = redis.call('HGET', KEYS[3], 'epoch') == ARGV[1] and ARGV[2] or '0-0'
return {fresh(KEYS[1], after), fresh(KEYS[2], after)}
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

# How a change of a customer begins: KEYS journal, meta, customer, erased; ARGV fresh epoch, journal bytes or '' for
# what the lake has already, live field, …, digest of the customer id. `mark[2]` is the field's value as it was.
_PUT: Final = (
    "#!lua\n"
    + _STAMP
    + _JOIN
    + """
if redis.call('SISMEMBER', KEYS[4], ARGV[#ARGV]) == 1 then return 'E' end
redis.call('HSETNX', KEYS[2], 'epoch', ARGV[1])
local mark = redis.call('HMGET', KEYS[3], 'alias', ARGV[3])
if mark[1] then return 'A' .. mark[1] end
local id
"""
)

# As `_PUT`; ARGV 4 live value, valid_from (µs). What comes from the lake replaces nothing that holds from a later
# moment.
PUT_CUSTOMER: Final = (
    _PUT
    + """
if ARGV[2] ~= '' then
  id = redis.call('XADD', KEYS[1], '*', 'j', ARGV[2])
else
  if mark[2] and (cjson.decode(mark[2]).row.valid_from or 0) >= tonumber(ARGV[5]) then return 'D' end
  id = stamp()
end
redis.call('HSET', KEYS[3], ARGV[3], ARGV[4], 'last', id)
local prefix = string.sub(KEYS[2], 1, -5)
join(prefix, string.sub(KEYS[3], #prefix + 3), cjson.decode(ARGV[4]).row.group_ids)
return id
"""
)

# As `_PUT`; ARGV 4 time (µs), state, live value, purpose.
# The word with the later time holds; of two at the same time, `off` (the strictest) does.
PUT_CONSENT: Final = (
    _PUT
    + """
if ARGV[2] ~= '' then id = redis.call('XADD', KEYS[1], '*', 'j', ARGV[2]) end
if mark[2] == ARGV[6] then return id or 'D' end
local said = mark[2] and tonumber(string.match(mark[2], '^(-?%d+)')) or nil
local at = tonumber(ARGV[4])
if said == nil or at > said or (at == said and ARGV[5] == 'off') then
  id = id or stamp()
  redis.call('HSET', KEYS[3], ARGV[3], ARGV[6], 'last', id)
  if ARGV[7] == 'personalization' then redis.call('HSET', KEYS[3], 'off', ARGV[5] == 'off' and '1' or '0') end
end
return id or 'D'
"""
)

# The first step of a merge, on the partition of the customer who stays: KEYS journal, meta, customer, merging, erased;
# ARGV fresh epoch, the other id, how many ids come with it, those ids, what to remember of the merge, then per field:
# name, value expected ('' for none), new value, journal bytes or ''; last the digest of the customer id. `R` when a
# field is not as expected: read again.
ABSORB: Final = (
    "#!lua\n"
    + _STAMP
    + """
if redis.call('SISMEMBER', KEYS[5], ARGV[#ARGV]) == 1 then return 'E' end
redis.call('HSETNX', KEYS[2], 'epoch', ARGV[1])
local alias = redis.call('HGET', KEYS[3], 'alias')
if alias then return 'A' .. alias end
local first = 5 + tonumber(ARGV[3])
for i = first, #ARGV - 1, 4 do
  if (redis.call('HGET', KEYS[3], ARGV[i]) or '') ~= ARGV[i + 1] then return 'R' end
end
local id = stamp()
for i = first, #ARGV - 1, 4 do
  redis.call('HSET', KEYS[3], ARGV[i], ARGV[i + 2])
  if ARGV[i + 3] ~= '' then id = redis.call('XADD', KEYS[1], '*', 'j', ARGV[i + 3]) end
end
for i = 4, first - 2 do redis.call('HSET', KEYS[3], 'was:' .. ARGV[i], '1') end
redis.call('HSET', KEYS[3], 'last', id)
redis.call('HSET', KEYS[4], ARGV[2], ARGV[4 + tonumber(ARGV[3])])
return id
"""
)

# The second step, on the partition of the id that becomes another's: KEYS journal, meta, customer, erased; ARGV fresh
# epoch, the customer who stays, journal bytes of the identity or '', digest of the other id. `L`: the other way round
# is under way.
ALIAS: Final = """#!lua
if redis.call('SISMEMBER', KEYS[4], ARGV[4]) == 1 then return 'E' end
redis.call('HSETNX', KEYS[2], 'epoch', ARGV[1])
local mark = redis.call('HMGET', KEYS[3], 'alias', 'was:' .. ARGV[2])
if mark[1] then return mark[1] == ARGV[2] and 'D' or 'A' .. mark[1] end
if mark[2] then return 'L' end
if ARGV[3] ~= '' then redis.call('XADD', KEYS[1], '*', 'j', ARGV[3]) end
redis.call('HSET', KEYS[3], 'alias', ARGV[2])
return 'S'
"""

# KEYS customer; ARGV alias as it was, alias as it shall be: chains are cut short.
RETARGET: Final = """#!lua
if redis.call('HGET', KEYS[1], 'alias') == ARGV[1] then redis.call('HSET', KEYS[1], 'alias', ARGV[2]) end
return 1
"""

# KEYS customer, merging; ARGV the other id, then the ids whose note the first step shall not have made.
END_MERGE: Final = """#!lua
redis.call('HDEL', KEYS[2], ARGV[1])
for i = 2, #ARGV do redis.call('HDEL', KEYS[1], 'was:' .. ARGV[i]) end
return 1
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
# A clock that stepped back prolongs what expires by as much: nobody's lease is longer than a whole one from now.
ELECT: Final = """#!lua flags=allow-oom
local holder = redis.call('HGET', KEYS[1], 'owner')
if holder and holder ~= ARGV[1] then
  if redis.call('PTTL', KEYS[1]) > tonumber(ARGV[2]) then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
  return 0
end
if not holder then redis.call('HSET', KEYS[1], 'owner', ARGV[1], 'token', redis.call('INCR', KEYS[2])) end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return tonumber(redis.call('HGET', KEYS[1], 'token'))
"""

# KEYS lock; ARGV owner.
RESIGN: Final = """#!lua flags=allow-oom
if redis.call('HGET', KEYS[1], 'owner') == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 1
"""

# KEYS journal, meta; ARGV epoch, smallest id to keep, fencing token. An emptied server is not trimmed by what its
# former life drained, and -1 is the answer to a keeper that woke up late: another has kept this partition since.
TRIM: Final = """#!lua flags=allow-oom
if redis.call('HGET', KEYS[2], 'epoch') ~= ARGV[1] then return 0 end
local fence = tonumber(redis.call('HGET', KEYS[2], 'fence') or '0')
if tonumber(ARGV[3]) < fence then return -1 end
if tonumber(ARGV[3]) > fence then redis.call('HSET', KEYS[2], 'fence', ARGV[3]) end
return redis.call('XTRIM', KEYS[1], 'MINID', ARGV[2])
"""

# KEYS meta, erased; ARGV prefix, digest of the customer id, customer id or '' (then only the tombstone is set).
# From this step on nothing of the customer is read or taken in. Returns how many keys went.
FORGET: Final = (
    "#!lua flags=allow-oom\n"
    + _JOIN
    + """
redis.call('SADD', KEYS[2], ARGV[2])
if ARGV[3] == '' then return 0 end
join(ARGV[1], ARGV[3], nil)
local gone = 0
for _, kind in ipairs({'c:', 't:', 'x:'}) do gone = gone + redis.call('DEL', ARGV[1] .. kind .. ARGV[3]) end
return gone
"""
)

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
