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
// [ReadRequest], [ReadResponse], [WriteRequest] and [WriteResponse] are the messages
// alone.
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
// A connection costs a round trip or more before the first byte, so a client keeps
// it. The server may close it at the moment in which the next request leaves; nobody
// can tell then whether that was carried out, so it is sent again only if doing it
// twice does no harm. And a copy of a document is named by its validator (ETag): with
// it a client asks "only if it has changed" (304), "only if it is still this one"
// (412, against lost updates), and "only the part that I lack" (206).
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
//   - Line ends in a value that a program puts into a field: TestWriteRefuses, TestFraming.
//   - A client that sends a header byte by byte, a body now and then, or does not
//     take its answer: TestDeadlines, TestSlowReader.
//   - A close with bytes unread resets the connection and may destroy the answer
//     just sent, so a server reads on for a second: TestUnreadBody.
//   - "Expect: 100-continue": a body that was never asked for may come or not:
//     TestExpect.
//   - A request sent again that was carried out the first time: TestTransportRetry.
//   - A response before the request's body is whole: TestTransportEarlyResponse; a
//     wait that the context does not end: TestTransportCancel.
//   - "..", escaped once or twice, a backslash, NUL, a symbolic link: TestFileEscape;
//     a named pipe among the files: TestFileSpecial.
//   - A file that shrinks while it is sent must not look whole: TestFileShrinks, TestReadFrom.
//   - Two who change the same file, and one change is lost: TestPutAndDelete.
//   - The name of a file, or the path asked for, that is HTML: TestFileFolder, TestErrorPage.
//
// # Limits and security
//
// HTTP/1.1 and 1.0 only; net/http speaks HTTP/2. Each line, header, body and chunk
// line is bounded ([Limits]: 414, 431, 413), each wait has a limit (408, or the end
// of the connection), and so has the number of connections. A body is not bounded
// unless [Limits].MaxBody says so, or the handler. Of transfer codings only chunked
// is known (501). Targets must be ASCII, and lines end with CR LF.
//
// A [Server] takes about 12 KiB a connection. It sees that a client has gone only
// if the handler asks the request's context; a client that closes its half of the
// connection counts as gone, as with net/http. A [Transport] bounds connections for
// each host, waits at most a minute for each step, reads at most 20 interim
// responses, and takes no proxy from the environment unless told. Neither decompresses.
//
// A [FileHandler] gives at most 16 parts of a file at once, lists 5,000 entries, and
// keeps names that begin with a dot secret. Two changes of a file within one tick of
// the file system's clock that keep its size have one ETag. It writes only where
// Writable says, and knows no users: who may do what a handler in front decides.
//
// # Exercises
//
//	go run ./examples run W1     a client that follows, resumes and shows
//	go run ./examples run W2     a server of files
//	go run ./examples run W6     what connections cost in round trips
//	go run ./examples run W8     a message byte by byte
//
// # References
//
//   - [RFC 9110], what HTTP means; [RFC 9112], HTTP/1.1 on the wire
//   - [RFC 3986], URIs; [RFC 6585], 431
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
// [RFC 3986]: https://www.rfc-editor.org/rfc/rfc3986
// [RFC 6585]: https://www.rfc-editor.org/rfc/rfc6585
package httpx
