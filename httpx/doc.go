// Package httpx is HTTP seen from the socket up: messages read from and written to
// a plain connection, and on them a server, a client's transport and a handler for
// files, which fit wherever those of net/http do.
//
// Start with [Server], which runs any [http.Handler]:
//
//	root, err := os.OpenRoot("public")
//	ln, err := net.Listen("tcp", "127.0.0.1:8080")
//	server := &httpx.Server{Handler: &httpx.FileHandler{Root: root}}
//	err = server.Serve(ctx, ln)
//
// [Transport] is the other side, for an [http.Client]. [FileHandler] shows a folder
// as a web site and [ErrorPage] explains what went wrong, on this server or another.
// [Cache] remembers responses, [Proxy] passes requests on, [Balancer] spreads them;
// [Sessions] and [Jar] are the two ends of a cookie. [ReadRequest], [ReadResponse],
// [WriteRequest] and [WriteResponse] are the messages alone.
//
// # The idea
//
// The client sends a request, the server a response, and again on the same
// connection. Both are a line that says what it is, fields, an empty line, and
// perhaps a body. The fields are text that ends with its line. The body may be
// anything, so its end must be known otherwise:
//
//   - none: after a GET without the fields below; a 204 or 304; a HEAD's answer
//   - Content-Length: so many bytes
//   - Transfer-Encoding: chunked: pieces with their length in front, the last empty
//   - the end of the connection: a response with neither
//
// Whoever is wrong about that end takes the rest of a body for the next message.
// Where two programs in a row, a proxy and a server, disagree about it, an attacker
// can write such a "rest" and have it answered in another's name: it is smuggled
// past the proxy. So a message that can be read in two ways is refused, and the
// connection closed, as [RFC 9112 section 11.2] advises.
//
// A connection costs a round trip before the first byte, so a client keeps it. The
// server may close it just as the next request leaves; that is sent again only if
// doing it twice does no harm. A copy of a document is named by its validator (ETag):
// "only if it has changed" (304), "only if it is still this one" (412). A cache uses
// a copy without asking while it is fresh, that is younger than the lifetime that
// the origin gave; then it asks with the validator. What is stored for one may be
// given to all, so anything private must stay out.
//
// # The picture
//
//	net.Conn            bufio            message                 yours
//	--------+     +---------------+   +--------------+     +--------------+
//	 bytes  |---->| request line  |-->| http.Request |---->| http.Handler |
//	        |     | fields, empty |   |  Body: reads |     |              |
//	        |     | line,   body..|-->|  to its end  |     |              |
//	        |     +---------------+   +--------------+     +------+-------+
//	        |                      length known? then in one      | Write
//	        |<---- status line, fields, body <--- write with -----+
//	        |                                     the header
//	the next request is read only when the body's end is certain
//
// # Wire format
//
// Lines end with CR LF (0d 0a). 27 bytes ask for a page, and 62 are the answer:
//
//	GET / HTTP/1.1       47 45 54 20 2f 20 48 54 54 50 2f 31 2e 31 0d 0a
//	Host: a              48 6f 73 74 3a 20 61 0d 0a
//	                     0d 0a
//
//	HTTP/1.1 200 OK               version, status, reason
//	Transfer-Encoding: chunked    name, colon, value
//
//	5                             bytes of the chunk, in hexadecimal
//	hello
//	0                             no bytes: the last
//	                              here a trailer may stand, fields again
//
// # Pitfalls
//
//   - The end of a message said twice, wrongly, or in a number that overflows:
//     TestNeverTheNextRequest, TestNeverTheNextRequestUnread, TestHostileResponses.
//   - A lone LF or CR, a folded line, white space before the colon: read
//     differently by different programs, and refused here: TestRefusedRequests.
//     TestLikeNetHTTP lists where we are stricter than net/http, and why.
//   - A message that is cut off taken for a short one: TestTruncated,
//     TestReverseProxy; over TLS: TestCutOffOverTLS, TestTransportTLSCut.
//   - Line ends in a value that a program puts into a field: TestWriteRefuses.
//   - A client that sends a header byte by byte, a body now and then, or does not
//     take its answer: TestDeadlines, TestSlowReader.
//   - A close with bytes unread resets the connection and may destroy the answer
//     just sent, so a server reads on for a second: TestUnreadBody.
//   - A body that was never asked for may come or not (100-continue): TestExpect.
//   - A request sent again that was carried out the first time: TestTransportRetry.
//   - A response before the request's body is whole: TestTransportEarlyResponse.
//   - "..", escaped once or twice, a backslash, NUL, a symbolic link: TestFileEscape;
//     a named pipe among the files: TestFileSpecial.
//   - A file that shrinks while it is sent must not look whole: TestFileShrinks.
//   - What was asked for before a purge, stored after it: TestCachePurge.
//   - One's response given to all who waited: TestCacheDoesNotShareWhatIsPrivate.
//
// # Limits and security
//
// HTTP/1.1 and 1.0 only; net/http speaks HTTP/2. Each line, header, body and chunk
// line is bounded ([Limits]: 414, 431, 413), each wait has a limit (408, or the end
// of the connection), and so has the number of connections. A body is not bounded
// unless [Limits].MaxBody says so, or the handler. Of transfer codings only chunked
// is known (501). Targets must be ASCII, and lines end with CR LF.
//
// A [Server] sees that a client has gone only if the handler asks the request's
// context; one that closes its half of the connection counts as gone. A [Transport]
// waits at most a minute for each step. Neither decompresses. A [FileHandler] keeps
// names that begin with a dot secret, writes only where Writable says, and knows no
// users.
//
// A [Cache] is a shared one, stores whole responses to GET only, at most MaxBytes, and
// gives no stale one that origin or client have not allowed. A forward [Proxy] goes
// to public addresses alone unless its Dial says otherwise.
//
// # Exercises
//
//	go run ./examples run W1     a client that follows, resumes and shows
//	go run ./examples run W2     a server of files
//	go run ./examples run W3     a caching proxy for a browser
//	go run ./examples run W4     a load balancer
//	go run ./examples run W5     a shop that knows its clients again
//	go run ./examples run W6     what connections cost in round trips
//	go run ./examples run W7     a faster line or a cache
//	go run ./examples run W8     a message byte by byte
//
// # References
//
//   - [RFC 9110], what HTTP means; [RFC 9112], HTTP/1.1 on the wire
//   - [RFC 9111], caching; [RFC 5861], stale responses; [RFC 9211], [RFC 9213]
//   - [RFC 6265], cookies; [RFC 3986], URIs; [RFC 6585], 431
//   - J. Kettle, HTTP Desync Attacks: Request Smuggling Reborn (2019)
//
// # Reading path
//
// message.go, body.go, requestcontext.go: lines and fields, where a body ends, and
// how a server sees that its client has gone.
//
// [RFC 9112 section 11.2]: https://www.rfc-editor.org/rfc/rfc9112#section-11.2
// [RFC 9110]: https://www.rfc-editor.org/rfc/rfc9110
// [RFC 9112]: https://www.rfc-editor.org/rfc/rfc9112
// [RFC 9111]: https://www.rfc-editor.org/rfc/rfc9111
// [RFC 5861]: https://www.rfc-editor.org/rfc/rfc5861
// [RFC 9211]: https://www.rfc-editor.org/rfc/rfc9211
// [RFC 9213]: https://www.rfc-editor.org/rfc/rfc9213
// [RFC 6265]: https://www.rfc-editor.org/rfc/rfc6265
// [RFC 3986]: https://www.rfc-editor.org/rfc/rfc3986
// [RFC 6585]: https://www.rfc-editor.org/rfc/rfc6585
package httpx
