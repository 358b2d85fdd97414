// Package cache keeps answers near those who ask for them, so that slow things
// are done once: in this process, or in a memcached that programs share.
//
// Start with [NewMemo], which turns a slow function into one that remembers:
//
//	square := cache.NewMemo(slowSquare, nil).Get
//
// [Local] is a cache in this process, of limited size: [NewLRU] and
// [NewSharded] make one. [Server] is a memcached that needs no installing.
// [Client] keeps values on memcached servers, ours or any other, decides by a
// [Selector] which of them has a key, and is a [Store] for a [Memo]. [Xor],
// [DJB2], [FNV1a] and [Quality] are for the study of hash functions.
//
// # The idea
//
// Asking a database, a service or a disk takes milliseconds, asking memory
// nanoseconds, and asking another machine's memory something between. Since a
// few things are asked for again and again, a small memory answers most
// requests. That raises five questions:
//
//   - What to throw away when it is full? Who was not used for longest (LRU),
//     or who was not used since we last came by (SIEVE).
//   - When is a value too old? After its time to live, or when whoever changes
//     the original says so.
//   - Who computes what is not there? One, while the others wait.
//   - Which server has a key? memcached servers do not know each other. The
//     clients choose by the key's hash, all in the same way; and when a server
//     joins, few keys should change their place, each of which is a miss.
//   - What if the cache is away? Then things are slow, and not wrong: it never
//     holds the only copy.
//
// # The picture
//
//	Memo.Get(12)      remembered, and not too old? ---------> 144
//	    | no
//	one computation for all who ask at the same time
//	    |                         |
//	slowSquare(12)            remember: in a Local, or in a Store
//	                              |              |
//	 newest   LRU: every Get      |           Client: the hash of
//	  [14]    moves the entry     |           "sq:12" picks a server
//	  [12]    to the newest end, <+             /      |       \
//	  [ 7]*   the oldest goes.               10.0.0.1  .2      .3
//	  [ 3]* <- hand
//	 oldest   SIEVE: nothing moves. A Get sets *; the hand clears *,
//	          goes on, and takes the first entry that has none.
//
// # Wire format
//
// memcached speaks in lines that end with CR LF; values follow with their length
// in front, so that they may hold anything. The same question in the text and in
// the meta protocol, where letters ask for what should be in the answer (v the
// value, t the seconds left):
//
//	set sq:12 0 60 3      flags 0, for 60 s, 3 bytes    STORED
//	144
//	get sq:12                                           VALUE sq:12 0 3
//	                                                    144
//	                                                    END
//	mg sq:12 v t          6d 67 20 73 71 3a 31 32       VA 3 t60
//	                      20 76 20 74 0d 0a             144
//	mg sq:13 v                                          EN
//
// A key has 1 to 250 bytes without spaces and control characters. Over UDP each
// datagram begins with eight bytes, high byte first:
//
//	+------------+------------+------------+------------+-- ~ --+
//	| request id | number of  | how many   | reserved,  | text  |
//	| 2 bytes    | this one   | there are  | 0          |       |
//	+------------+------------+------------+------------+-- ~ --+
//
// A [Memo] stores "v" or, for not found, "n", until when it is fresh in decimal
// milliseconds since 1970 (0 means for ever), a space, and the value's bytes:
//
//	v946684861001 144
//
// # Pitfalls
//
//   - A scan that pushes all out that was worth keeping: TestScan.
//   - Entries past their time that keep their place: TestExpiredLeaveUnasked.
//   - A popular value that a hundred callers compute at once: TestMemoShares;
//     or that is computed once more because the look into the cache took long:
//     TestMemoLooksAgain.
//   - One caller's end that ends it for all: TestMemoCancel.
//   - Remembering a failure that will pass: TestMemoErrors.
//   - An old value stored just after it was declared old:
//     TestMemoDeleteWhileComputing.
//   - The answer to another's request on a shared connection, after an error or
//     an early leave: TestNeverSomebodyElsesAnswer, TestCallersWhoLeave.
//   - A dead server that every caller dials: TestNoDialStorm; old values on one
//     that comes back, or that stood in: TestNeverStale.
//   - A server in the middle of the list leaves, and [Modulo] or [Jump] move the
//     keys of all behind it: TestLeaving.
//   - A client that stops in the middle of a command, or does not take its
//     answer: TestTimeout; a value replaced while it reads it: TestSlowReader.
//   - A web page that makes a browser send commands, and a refused value whose
//     bytes are taken for commands: TestDialogues, FuzzServer.
//   - Memory set aside for sizes that nobody stores any more: TestShiftingSizes.
//   - Taking 1.0 for the mark of a good hash function: TestChance.
//
// # Limits and security
//
// A [Local] cache never holds more than its budget; what entries cost besides,
// 100 to 200 bytes each, is not counted. The context of a [Memo]'s computation ends
// after a minute. Programs that share a [Store] need clocks that agree to well
// within TTL. Deleting is safe within one [Memo]; between programs a small hole
// remains: one that read the old value before a change may store it after
// another's Delete. A time to live bounds how long that lasts.
//
// A [Server] keeps items within [Server.MaxBytes]; a connection takes at most
// 96 KiB more. There is no binary protocol, no SASL, no storage on disk. UDP, with
// long answers to perhaps forged addresses, is off unless asked for.
//
// A [Client] has at most [Client.MaxConns] connections to a server, 1,024 calls
// waiting on each, and values of [Client.MaxValue]. A write that ended with an
// error of the network may have happened or not. memcached's protocol knows no
// secrets: whoever reaches a server can read, change and flush; put TLS below by
// [Client.Dial]. What a [Store] holds is input: what cannot be decoded counts as
// not there. The hash functions here are predictable; for keys that strangers
// choose take hash/maphash, as [NewSharded] does.
//
// # Exercises
//
//	go run ./examples run C1     squares: the times fall
//	go run ./examples run C2     any function remembers, in one line
//	go run ./examples run C3     a database's rows, and invalidation
//	go run ./examples run C4     how evenly hash functions spread words
//	go run ./examples run C5     keys over servers that come and go
//	go run ./examples run C6     a memcached as a program
//
// # References
//
//   - [memcached's protocol], text and meta
//   - [SIEVE] is Simpler than LRU, NSDI 2024
//   - [Scaling Memcache at Facebook], NSDI 2013
//   - [Log-structured Memory], FAST 2014: how a [Server] keeps items
//   - [RFC 5861 section 3] stale-while-revalidate; [RFC 2308] negative caching
//
// # Reading path
//
// shard.go, memo.go, ketama.go: what stays in memory, a function that remembers,
// and which server has a key.
//
// [memcached's protocol]: https://github.com/memcached/memcached/blob/master/doc/protocol.txt
// [SIEVE]: https://www.usenix.org/conference/nsdi24/presentation/zhang-yazhuo
// [Scaling Memcache at Facebook]: https://www.usenix.org/conference/nsdi13/technical-sessions/presentation/nishtala
// [Log-structured Memory]: https://www.usenix.org/conference/fast14/technical-sessions/presentation/rumble
// [RFC 5861 section 3]: https://www.rfc-editor.org/rfc/rfc5861#section-3
// [RFC 2308]: https://www.rfc-editor.org/rfc/rfc2308
package cache
