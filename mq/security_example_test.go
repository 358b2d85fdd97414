package mq_test

import (
	"context"
	"fmt"
	"time"

	"github.com/zocalo-go/zocalo/mq"
)

// A server with CURVE that admits one client by its key. The client knows the
// server by the public key that it was given beforehand.
func ExampleCurveServer() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	serverKey, clientKey := mq.NewCurveKey(), mq.NewCurveKey()

	pull := open(mq.PULL, &mq.Config{Security: &mq.CurveServer{
		SecretKey: serverKey,
		Admit:     func(client mq.CurveKey) bool { return client == clientKey.Public() },
	}})
	defer pull.Close()
	at, err := pull.Bind(ctx, "tcp://127.0.0.1:*")
	if err != nil {
		fmt.Println(err)
		return
	}

	push := open(mq.PUSH, &mq.Config{Security: &mq.CurveClient{
		ServerKey: serverKey.Public(),
		SecretKey: clientKey,
	}})
	defer push.Close()
	_ = push.Connect(at)
	_ = push.Send(ctx, []byte("a secret"))
	fmt.Println(pull.Recv(ctx))
	// Output: ["a secret"] <nil>
}

// Keys have a text form, for files and command lines.
func ExampleCurveKey() {
	secret, err := mq.ParseCurveKey("D:)Q[IlAW!ahhC2ac:9*A}h:p?([4%wOTJ%JR%cs")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(secret.Public())
	// Output: Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID
}

// Questions come in at one endpoint and go out to the workers at another.
func ExampleProxy() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	cfg := &mq.Config{Inproc: new(mq.Inproc)}
	req, router, dealer, rep := open(mq.REQ, cfg), open(mq.ROUTER, cfg), open(mq.DEALER, cfg), open(mq.REP, cfg)
	for _, s := range []*mq.Socket{req, router, dealer, rep} {
		defer s.Close()
	}
	_, _ = router.Bind(ctx, "inproc://clients")
	_, _ = dealer.Bind(ctx, "inproc://workers")
	_ = req.Connect("inproc://clients")
	_ = rep.Connect("inproc://workers")
	go func() { _ = mq.Proxy(ctx, router, dealer, nil) }()

	_ = req.Send(ctx, []byte("question"))
	question, _ := rep.Recv(ctx)
	_ = rep.Send(ctx, append(question, []byte("answer"))...)
	fmt.Println(req.Recv(ctx))
	// Output: ["question" "answer"] <nil>
}
