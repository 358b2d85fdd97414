package mq_test

import (
	"context"
	"fmt"
	"time"

	"github.com/zocalo-go/zocalo/mq"
)

// open returns a socket; the examples leave out what happens to errors.
func open(t mq.Type, cfg *mq.Config) *mq.Socket {
	s, err := mq.NewSocket(t, cfg)
	if err != nil {
		panic(err)
	}
	return s
}

// A question and its answer, over tcp.
func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()

	rep, req := open(mq.REP, nil), open(mq.REQ, nil)
	defer rep.Close()
	defer req.Close()
	at, err := rep.Bind(ctx, "tcp://127.0.0.1:*")
	if err != nil {
		fmt.Println(err)
		return
	}
	go func() {
		for m, err := range rep.Messages(ctx) {
			if err != nil {
				return
			}
			_ = rep.Send(ctx, append([]byte("you said: "), m[0]...))
		}
	}()

	_ = req.Connect(at)
	_ = req.Send(ctx, []byte("hello"))
	answer, err := req.Recv(ctx)
	fmt.Println(answer, err)
	// Output: ["you said: hello"] <nil>
}

// A DEALER asks without taking turns; a ROUTER sees who asked. The one that
// connects may come first.
func ExampleSocket() {
	ctx := context.Background()
	cfg := &mq.Config{Identity: []byte("ann"), Inproc: new(mq.Inproc)}
	dealer, router := open(mq.DEALER, cfg), open(mq.ROUTER, cfg)
	defer dealer.Close()
	defer router.Close()
	_ = dealer.Connect("inproc://desk")
	_ = dealer.Send(ctx, []byte("one"))
	_ = dealer.Send(ctx, []byte("two"))

	_, _ = router.Bind(ctx, "inproc://desk")
	for range 2 {
		m, _ := router.Recv(ctx)
		fmt.Println(m)
		_ = router.Send(ctx, m[0], []byte("done"))
	}
	for range 2 {
		m, _ := dealer.Recv(ctx)
		fmt.Println(m)
	}
	// Output:
	// ["ann" "one"]
	// ["ann" "two"]
	// ["done"]
	// ["done"]
}

// A subscriber receives what begins as it wishes. An XPUB sees the subscription
// come, and so knows when to begin.
func ExampleSocket_Subscribe() {
	ctx := context.Background()
	cfg := &mq.Config{Inproc: new(mq.Inproc)}
	pub, sub := open(mq.XPUB, cfg), open(mq.SUB, cfg)
	defer pub.Close()
	defer sub.Close()
	_, _ = pub.Bind(ctx, "inproc://news")
	_ = sub.Connect("inproc://news")
	_ = sub.Subscribe("important:")
	wish, _ := pub.Recv(ctx)
	fmt.Println(wish)

	for _, line := range []string{"it rains", "important: it floods"} {
		_ = pub.Send(ctx, []byte(line))
	}
	m, _ := sub.Recv(ctx)
	fmt.Println(m)
	// Output:
	// ["\x01important:"]
	// ["important: it floods"]
}

// A context that has ended makes a Send or Recv that does not wait.
func ExampleSocket_Send() {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	push := open(mq.PUSH, &mq.Config{SendHWM: 2, Linger: -1})
	defer push.Close()
	_ = push.Connect("tcp://127.0.0.1:1") // nobody is there, yet
	for range 3 {
		fmt.Println(push.Send(ctx, []byte("job")))
	}
	// Output:
	// <nil>
	// <nil>
	// mq: send on PUSH: context canceled
}

// A monitor: the events of a socket's connections.
func ExampleTrace() {
	ctx := context.Background()
	events := make(chan string, 10)
	pull := open(mq.PULL, &mq.Config{Trace: &mq.Trace{
		Connected:    func(p mq.Peer) { events <- "connected: " + p.Type.String() },
		Disconnected: func(p mq.Peer, _ error) { events <- "disconnected: " + p.Type.String() },
	}})
	defer pull.Close()
	at, _ := pull.Bind(ctx, "tcp://127.0.0.1:*")
	push := open(mq.PUSH, nil)
	_ = push.Connect(at)
	_ = push.Send(ctx, []byte("job"))
	push.Close() // waits until the job has left
	m, _ := pull.Recv(ctx)
	fmt.Println(m)
	fmt.Println(<-events)
	fmt.Println(<-events)
	// Output:
	// ["job"]
	// connected: PUSH
	// disconnected: PUSH
}
