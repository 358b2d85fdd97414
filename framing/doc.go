// Package framing says where one message ends and the next begins.
//
// A stream carries bytes, a program wants messages. Start with [NewConn]: it
// turns any connection into one on which Send on this side is one Receive on
// the other.
//
//	c := framing.NewConn(conn, framing.Prefix{}, nil)
//	err := c.Send(ctx, []byte("hello"))
//	msg, err := c.Receive(ctx)
//
// [Server] accepts many such connections; [Reader] and [Writer] are the plain
// parts, without time limits, for files, pipes and protocols of one's own. The
// ways to mark a border are values of type [Format].
//
// # The idea
//
// TCP delivers what was sent, in order, but not in the pieces in which it was
// sent: two sends may arrive in one read, one send in three. What the receiver
// gets from the network is a row of bytes without borders, so both ends must
// agree beforehand on a way to mark them. There are five.
//
//	the way                      fits                      costs
//	to the end of the stream     one message, [ToEOF]      the connection
//	a fixed length               records, [Fixed]          padding
//	a delimiter, quoted inside   text, [Delimiter]         a look at each byte
//	the length first             anything, [Prefix]        the length in advance
//	blocks, the last one empty   unknown lengths           two layers
//
// The last is the fourth used twice: send blocks with their lengths, and an
// empty one when there is no more. HTTP uses four of them: a blank line ends
// the fields, Content-Length or chunks end the body, and its oldest version
// just hung up.
//
// # The picture
//
//	Send("hi"), Send("you")                     Receive() "hi", "you"
//	        |                                            ^
//	     Encode                                       Decode
//	        v                                            |
//	0000 0002 6869 | 0000 0003 796f 75     the stream, with borders
//	        |                                            ^
//	        +--> [0000 0002 6869 0000] [0003 796f 75] ---+
//	             one read              the next: it knows no borders
//
// # Wire format
//
// A message "hi" (68 69) in each format, numbers in hex:
//
//	Prefix{}                          00 00 00 02 68 69
//	Prefix{Width: 2}                  00 02 68 69
//	Prefix{LittleEndian: true}        02 00 00 00 68 69
//	Prefix{Inclusive: true}           00 00 00 06 68 69
//	Prefix{Width: Uvarint}            02 68 69
//	Prefix{Offset: 1, Width: 1}       68 01 69
//	Delimiter{}                       68 69 0a
//	Delimiter{Delim: "i", Escape: '\\'}  68 5c 69 69
//	Fixed(2), ToEOF{}                 68 69
//	Netstring{}                       32 3a 68 69 2c
//	DotLines{}  of "hi" CR LF         68 69 0d 0a 2e 0d 0a
//	SLIP{}                            c0 68 69 c0
//	COBS{}                            03 68 69 00
//
// The default, [Prefix]{}, is four bytes, the most significant first, that
// count the bytes after them:
//
//	 0                   1                   2                   3
//	+-------+-------+-------+-------+-------+-------+-- ~ --+
//	|  length, 32 bits, big-endian  |  length bytes of payload
//	+-------+-------+-------+-------+-------+-------+-- ~ --+
//
// # Pitfalls
//
//   - Believing that one write is one read: TestInterruptedReadGoesOn cuts the
//     stream at every byte.
//   - Taking memory because a peer says so: TestClaimTakesNoMemory announces
//     gigabytes and sends ten bytes.
//   - Taking a broken connection for the end: TestEndOfStream. Between messages
//     the error is io.EOF, inside one io.ErrUnexpectedEOF; only [ToEOF] cannot
//     tell.
//   - A delimiter in the payload: TestUnfit. Quote it, or refuse it.
//   - Two programs that disagree on what ends a line: TestMalformed shows the
//     message smuggled in by a lone LF, and refused.
//   - A write for each small message: TestBatching, and BenchmarkTCP for the
//     price.
//   - Waiting for ever: TestConnTimeouts, among them a peer that sends a byte a
//     second.
//   - Keeping the slice that Receive returned, which is valid until the next
//     call: TestSliceIsReused.
//
// # Limits and security
//
// A received message is at most [Config.MaxSize] bytes, 1 MiB by default, and
// the limit is checked before memory is taken; memory stays below twice the
// bytes that have arrived plus 64 KiB. Larger messages are streamed in constant
// memory ([Conn.NextReader], [Conn.NextWriter]). Every wait of a [Conn] ends
// with its context or a time limit, a [Server] serves at most MaxConns
// connections, and a handler's panic ends one connection.
//
// After an error the stream is in a known state. A [SizeError], or a
// [FormatError] of a format whose borders can be found again, costs one
// message; after a bad length nothing can be believed any more. A connection
// that has been cut or has timed out while sending is finished.
//
// Nothing here is secret, authenticated or protected against change: put a
// *tls.Conn below. Compression and the meaning of the bytes are the business
// of package codec.
//
// # Exercises
//
//	go run ./examples run S7     lines, over UDP and TCP
//	go run ./examples run S9     messages of sixteen octets
//	go run ./examples run S11    to the end, or the length first
//	go run ./examples run S13    a whole stream is the message
//	go run ./examples run D4     a file with its length
//
// # References
//
//   - [RFC 9293 section 3.8] TCP delivers a stream, not messages
//   - [RFC 1055] SLIP
//   - [RFC 5321 section 4.5.2] dots at the beginning of lines
//   - [Netstrings] by D. J. Bernstein
//   - S. Cheshire and M. Baker, Consistent Overhead Byte Stuffing, IEEE/ACM
//     Transactions on Networking 7(2), 1999
//
// # Reading path
//
// format.go, fixed.go, netstring.go, then reader.go: what a format is, the
// simplest ones, and the machine that runs them.
//
// [RFC 9293 section 3.8]: https://www.rfc-editor.org/rfc/rfc9293#section-3.8
// [RFC 1055]: https://www.rfc-editor.org/rfc/rfc1055
// [RFC 5321 section 4.5.2]: https://www.rfc-editor.org/rfc/rfc5321#section-4.5.2
// [Netstrings]: https://cr.yp.to/proto/netstrings.txt
package framing
