# ------------------------------------------------------------------------------------------------------- files and lock

# begin: a private folder in /run, which only root can write to. Folders of killed runs go.
begin() {
  for begin_left in /run/netfilter-lb.[0-9]*; do
    case $begin_left in *'*' | "$TMP") ;; *) kill -0 "${begin_left##*.}" 2>/dev/null && continue ;; esac
    [ ! -d "$begin_left" ] || rm -rf "$begin_left"
  done
  mkdir "$TMP" || fail 1 "cannot make the working folder $TMP: is /run writable?"
  trap 'rm -rf "$TMP"' EXIT
  : >"$TMP/words"
  : >"$TMP/none"
  now=$(date -u +%Y-%m-%dT%H:%M:%SZ)
}

# open_lock: flock belongs to the open file, so a killed holder frees it at once.
open_lock() {
  need flock util-linux
  [ ! -L "$LOCK" ] || fail 5 "the lock $LOCK is a symbolic link: remove it and run this again"
  # In braces: a redirection that fails on a special built-in would end the shell without a word.
  { true 9>>"$LOCK"; } 2>/dev/null || fail 5 "cannot open the lock $LOCK: is /run writable?"
  exec 9>>"$LOCK"
}

hold_lock() { printf '%s, pid %s, owner %s, since %s\n' "$1" "$$" "${owner:-none}" "$now" >"$LOCK"; }

# try_lock WHAT: the lock if it is free.
try_lock() {
  open_lock
  flock -n 9 && hold_lock "$1"
}

# lock WHAT: one writer at a time. The file says who holds it, for whoever waits in vain. flock -w is not everywhere,
# hence the loop.
lock() {
  open_lock
  lock_tries=$((LOCK_WAIT * 10))
  until flock -n 9; do
    [ "$lock_tries" -gt 0 ] ||
      fail 5 "waited $LOCK_WAIT s for the lock $LOCK, held by: $(cat "$LOCK"); run this again when that has ended"
    if sleep 0.1 2>/dev/null; then lock_tries=$((lock_tries - 1)); else sleep 1; lock_tries=$((lock_tries - 10)); fi
  done
  hold_lock "$1"
}

# state_folders: made by nobody but us; a symbolic link in their place is not followed.
state_folders() {
  for state_folder in "$STATE" "$FARMS" "$STACKS" "$SENT"; do
    [ ! -L "$state_folder" ] || fail 1 "$state_folder is a symbolic link: remove it and run this again"
    [ -d "$state_folder" ] || mkdir "$state_folder" || fail 1 "cannot make $state_folder: is /etc writable?"
  done
}

# need_room: going back reads the kernel and compares, which takes several times the room of all texts. Where /run has less,
# nothing is touched.
need_room() {
  # Where a farm leaves, no set came in. Not ":", which would end the shell where that fails.
  true 2>/dev/null >>"$TMP/set"
  room_bytes=''
  # "du" opens no file, which with a thousand farms takes half as long as "wc"; but not every one has -b. The total comes last.
  { read -r _; read -r _ _ _ room_left _; while read -r room_word _; do room_bytes=$room_word; done; } <<EOF
$({ df -Pk /run; du -csb "$FARMS" "$TMP/set" || cat "$FARMS"/*.rules "$TMP/set" | wc -c; } 2>/dev/null)
EOF
  case $room_left:$room_bytes in :* | *: | *[!0-9:]*) return 0 ;; esac
  room_lacking=$((room_bytes * 8 / 1024 + 64 - room_left))
  [ "$room_lacking" -le 0 ] ||
    fail 1 "there is too little room in /run to go back if something fails, nothing was changed: make $room_lacking KiB of room there and run this again"
}

# place TO COMMAND…: TO has what COMMAND prints, or stays as it was. The copy is made beside TO, reaches the disk before
# its name does, and a full disk shows here and not half-way.
place() {
  place_to=$1 place_new=${1%/*}/.${1##*/}.new
  shift
  write_new "$place_new" "$@" || return 1
  rename "$place_new" "$place_to" || { rm -f "$place_new"; return 1; }
}

# write_new FILE COMMAND…: FILE, made anew, has what COMMAND prints, and the disk has it; or there is none. It is made with O_EXCL
# (set -C), so that no link is followed.
write_new() {
  write_file=$1
  shift
  if [ -e "$write_file" ] || [ -L "$write_file" ]; then rm -f "$write_file" || return 1; fi
  set -C
  "$@" >"$write_file" || { set +C; rm -f "$write_file"; return 1; }
  set +C
  sync "$write_file" 2>/dev/null || :
}

# rename FROM TO: rename(2) and never "into the folder that TO points to".
rename() {
  if [ -L "$2" ]; then rm -f "$2" || return 1; fi
  [ ! -d "$2" ] && mv -f "$1" "$2"
}
