package dnstest_test

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/zocalo-go/zocalo/dnsx"
	"github.com/zocalo-go/zocalo/dnsx/dnstest"
)

// A question to one of the servers, here to one for com about a name below it:
// the answer is a referral.
func Example() {
	in, err := dnstest.Start(dnstest.Config{})
	if err != nil {
		slog.Error("no Internet", "err", err)
		return
	}
	defer in.Close()

	conn, err := in.Dial(context.Background(), "udp", fmt.Sprintf("%s:%d", in.Addr(1, 1), in.Port()))
	if err != nil {
		slog.Error("no socket", "err", err)
		return
	}
	defer conn.Close()
	query, _ := dnsx.NewQuery("www.example.com", dnsx.A).Pack()
	conn.Write(query)
	buf := make([]byte, 1232)
	n, _ := conn.Read(buf)
	answer, err := dnsx.ParseMessage(buf[:n])
	if err != nil {
		slog.Error("no answer", "err", err)
		return
	}
	for _, r := range answer.Authority {
		fmt.Println(r.Name, r.Type, r.Data)
	}
	// Output:
	// example.com. NS ns1.example.com.
	// example.com. NS ns2.example.com.
}

// A zone of one's own, delegated from com, and then a server that fails.
func ExampleInternet_SetZone() {
	in, err := dnstest.Start(dnstest.Config{})
	if err != nil {
		slog.Error("no Internet", "err", err)
		return
	}
	defer in.Close()
	err = in.SetZone(`
$ORIGIN brote.com.
$TTL 60
@   SOA ns1 hostmaster 1 7200 3600 1209600 60
@   NS  ns1
ns1 A   127.53.40.1
www A   127.53.40.2
`)
	fmt.Println(err)
	fmt.Println(in.SetFault(in.Addr(40, 1), dnstest.Failing()))
	// Output:
	// <nil>
	// <nil>
}
