// Package mq passes messages between programs through ØMQ sockets: it speaks
// ZMTP, so that programs in C++, Python and others with libzmq can be at the
// other end.
//
// Start with [NewSocket], then [Socket.Bind] or [Socket.Connect], [Socket.Send]
// and [Socket.Recv]:
//
//	req, err := mq.NewSocket(mq.REQ, nil)
//	err = req.Connect("tcp://127.0.0.1:5555")
//	err = req.Send(ctx, []byte("hello"))
//	answer, err := req.Recv(ctx)
//
// [Config] holds what a socket can be told, [Trace] reports what happens to its
// connections, and [Proxy] joins two sockets into a relay. [PlainServer] and
// [CurveServer] let in only whom they know.
//
// # The idea
//
// A TCP connection joins two programs that run at the same time, carries bytes
// without joints, and is gone after an error. A message queue stands between the
// two: it takes whole messages, keeps them while the other side is away or busy,
// and delivers them later. Brokers are message queues that run as programs of
// their own. ØMQ puts the queue into the socket instead: one at each end of each
// connection, and no program in between.
//
// A socket hides how many peers it has, where they are, who came first and
// whether a connection broke. Its type is a pattern of talking:
//
//   - REQ asks one REP after the other, and waits for each answer;
//   - PUB sends to every SUB that has subscribed to the beginning of the message;
//   - PUSH sends each message to one PULL, in turn;
//   - PAIR has a single peer;
//   - DEALER and ROUTER are REQ and REP without turns, for servers that do
//     several things at a time; XPUB and XSUB are PUB and SUB that show the
//     subscriptions, for proxies.
//
// Each queue ends at a high-water mark. There a PUB drops what is for that
// subscriber, and a ROUTER what is for that peer; the others make Send wait.
//
// # The picture
//
//	   Send: whose turn? who subscribed? whose name?
//	     |            |             |
//	 [queue]      [queue]       [queue]    SendHWM messages each
//	     | batch      |             |
//	ZMTP over tcp    ipc         inproc: no connection, the
//	     |            |             |     queues touch
//	 [queue]      [queue]       [queue]    RecvHWM messages each
//	      \           |            /
//	       Recv: one message from each in turn
//
// # Wire format
//
// Each end begins with 64 bytes: signature, version 3.1, security mechanism (20
// bytes of text), 1 if it is that mechanism's server, zeros.
//
//	ff 00 00 00 00 00 00 00 00 7f | 03 01 | NULL … | 00 | 00 …
//
// Then both send frames. A message is one frame or more; a command is one frame,
// whose body is a name, with its length before it, and data.
//
//	+-------+-----------------+-- ~ --+  flags: 1 more frames follow
//	| flags | length, 1 byte  | body  |         2 length has 8 bytes,
//	|       | or 8, high first|       |           high byte first
//	+-------+-----------------+-- ~ --+         4 this is a command
//
//	04 19 05 READY 0b Socket-Type 00 00 00 03 SUB   the handshake's last
//	04 0b 09 SUBSCRIBE a                             a command
//	01 05 apple 00 01 5                              a message, two frames
//
// The handshake is READY from both with NULL; HELLO, WELCOME, INITIATE, READY
// with PLAIN and CURVE; or ERROR with a reason. Later come SUBSCRIBE, CANCEL,
// PING with a time to live (2 bytes, tenths of a second) and up to 16 bytes that
// its PONG returns. A peer of version 3.0 gets subscriptions as messages: 01 or
// 00 and the topic. Requests carry an empty frame first, and before that the
// names of the ROUTERs' peers on their way.
//
// # Pitfalls
//
//   - A SUB misses what is published before its subscription arrives, which is
//     later than [Trace.Connected]. To wait for it, let an XPUB receive it:
//     TestXSub. A slow SUB loses what is beyond the mark: TestPublisherDrops.
//   - A SUB without [Socket.Subscribe] receives nothing: TestPublishSubscribe.
//   - Send returns when the message is in the queue, not when it has arrived. A
//     peer that dies takes with it what was on the way: TestQueuesAndLoss.
//   - A REQ whose peer has died waits for ever; give Recv a context with an end,
//     and take a new socket: TestPeerDiesWithQuestion.
//   - A second Send of a REQ before the answer is an [ErrState]: TestTurns.
//   - A ROUTER drops messages for unknown names, unless told: TestMandatory.
//   - A peer that answers ERROR is not asked again: TestLibzmqRefuses.
//   - libzmq's subscribers send each SUBSCRIBE, but a CANCEL only for the last of
//     equal ones, although RFC 37 counts them: TestSubscribeTwice.
//   - PLAIN passwords can be read on the wire; put TLS below with [Config], as all
//     tests of the suite do, such as TestRequestReply.
//
// # Limits and security
//
// A queue holds its mark's number of messages besides the batch that is being
// written or received, of as many again; a connection's buffer grows with its
// traffic to 512 KiB. No memory is taken for bytes announced
// but not come (TestHostileTraffic). Frames, messages, connections and
// subscriptions are bounded by [Config]; handshakes by 64 KiB and a deadline. A
// peer that breaks a rule loses its connection, and nobody else notices. Who
// opens [Config.MaxConns] silent connections keeps others out until that deadline.
//
// CURVE gives secrecy, forward secrecy and knowledge of who is there; it hides
// neither lengths nor times. A function in [PlainServer] or [CurveServer] decides
// who may enter; the ZAP protocol (RFC 27) is not there, nor are GSSAPI, ZMTP 1
// and 2, and multicast (pgm, epgm). Nothing is kept on disk, and no message is
// delivered twice. While our receive queue is full, nothing is read from that
// peer, and its PINGs stay unanswered.
//
// # Exercises
//
//	go run ./examples run M1     hello: requests and replies
//	go run ./examples run M2     important: subscriptions
//	go run ./examples run M3     queuecrazy: a fountain and its workers
//	go run ./examples run M4     topologies: every pattern on one page
//	go run ./examples run M6     mqtool: a socket from the command line
//
// # References
//
//   - [RFC 37] ZMTP 3.1, [RFC 23] ZMTP 3.0
//   - [RFC 28] request-reply, [RFC 29] publish-subscribe, [RFC 30] pipeline,
//     [RFC 31] exclusive pair
//   - [RFC 24] PLAIN, [RFC 25] and [RFC 26] CURVE, [RFC 32] Z85
//   - [ØMQ: the guide], the book to read
//
// # Reading path
//
// route.go, pipe.go, queue.go, buffer.go: where a message goes, and the queues
// that it waits in.
//
// [RFC 23]: https://rfc.zeromq.org/spec/23/
// [RFC 24]: https://rfc.zeromq.org/spec/24/
// [RFC 25]: https://rfc.zeromq.org/spec/25/
// [RFC 26]: https://rfc.zeromq.org/spec/26/
// [RFC 28]: https://rfc.zeromq.org/spec/28/
// [RFC 29]: https://rfc.zeromq.org/spec/29/
// [RFC 30]: https://rfc.zeromq.org/spec/30/
// [RFC 31]: https://rfc.zeromq.org/spec/31/
// [RFC 32]: https://rfc.zeromq.org/spec/32/
// [RFC 37]: https://rfc.zeromq.org/spec/37/
// [ØMQ: the guide]: https://zguide.zeromq.org
package mq
