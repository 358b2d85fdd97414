package dnsx_test

import (
	"cmp"
	"context"
	"encoding/hex"
	"fmt"
	"log"
	"net/netip"
	"strings"
	"time"

	"github.com/zocalo-go/zocalo/dnsx"
	"github.com/zocalo-go/zocalo/dnsx/dnstest"
)

// internet starts name servers to try things on, and returns a resolver that
// knows their root.
func internet() (*dnstest.Internet, *dnsx.Iterative) {
	in, err := dnstest.Start(dnstest.Config{})
	if err != nil {
		log.Fatal(err)
	}
	roots, err := dnsx.ParseHints(strings.NewReader(in.RootHints()))
	if err != nil {
		log.Fatal(err)
	}
	return in, &dnsx.Iterative{Roots: roots, Port: in.Port(), Client: dnsx.Client{Dial: in.Dial}}
}

func Example() {
	in, iterative := internet()
	defer in.Close()
	ctx := context.Background()
	resolver := &dnsx.Cache{Resolver: iterative}

	answer, err := resolver.Resolve(ctx, "ftp.example.com.", dnsx.A)
	if err != nil {
		log.Fatal(err) // nothing is known: try again later
	}
	for _, r := range answer.Records {
		fmt.Println(r.Name, r.Type, r.Data)
	}
	answer, err = resolver.Resolve(ctx, "nobody.example.com.", dnsx.A)
	fmt.Println(answer.Status, err)
	_, err = resolver.Resolve(ctx, "www.refusing.test.", dnsx.A)
	fmt.Println(err != nil) // it may exist
	// Output:
	// ftp.example.com. CNAME www.example.com.
	// www.example.com. A 127.53.10.10
	// nxdomain <nil>
	// true
}

// From the root down, step by step.
func ExampleIterative() {
	in, resolver := internet()
	defer in.Close()
	resolver.Client.Trace = &dnsx.Trace{Step: func(s dnsx.Step) {
		if s.Depth == 0 {
			fmt.Println("a server of", s.Zone, "says:", s.Outcome, "to", cmp.Or(s.Next, "the question"))
		}
	}}
	answer, err := resolver.Resolve(context.Background(), "www.example.org.", dnsx.A)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(answer.Records), "addresses")
	// Output:
	// a server of . says: referral to org.
	// a server of org. says: referral to example.org.
	// a server of example.org. says: answer to the question
	// 3 addresses
}

func ExampleCache() {
	in, iterative := internet()
	defer in.Close()
	cache := &dnsx.Cache{Resolver: iterative, MaxTTL: time.Hour}
	for range 1000 {
		if _, err := cache.Resolve(context.Background(), "www.example.com.", dnsx.A); err != nil {
			log.Fatal(err)
		}
	}
	stats := cache.Stats()
	fmt.Println(stats.Misses, "resolution,", stats.Hits, "answers from memory")
	// Output: 1 resolution, 999 answers from memory
}

func ExampleStub() {
	stub, err := dnsx.ParseResolvConf(strings.NewReader("nameserver 192.0.2.53\nsearch cs.unizocalo.es example.com\n"))
	if err != nil {
		log.Fatal(err)
	}
	names, err := stub.Candidates("www")
	fmt.Println(names, err)

	stub.Hosts, err = dnsx.ParseHosts(strings.NewReader("192.0.2.10 www.cs.unizocalo.es www\n"))
	if err != nil {
		log.Fatal(err)
	}
	answer, err := stub.Resolve(context.Background(), "www", dnsx.A)
	fmt.Println(answer.Records[0].Data, err)
	// Output:
	// [www.cs.unizocalo.es. www.example.com. www.] <nil>
	// 192.0.2.10 <nil>
}

func ExampleNewQuery() {
	query := dnsx.NewQuery("example.com.", dnsx.MX)
	query.ID = 0x1a2b
	wire, err := query.Pack()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(hex.EncodeToString(wire))
	// Output: 1a2b01000001000000000001076578616d706c6503636f6d00000f000100002904d0000000000000
}

func ExampleClient_Exchange() {
	in, _ := internet()
	defer in.Close()
	client := &dnsx.Client{Dial: in.Dial}
	server := netip.AddrPortFrom(in.Addr(0, 1), in.Port()) // a server of the root
	response, err := client.Exchange(context.Background(), server, dnsx.NewQuery("www.example.com.", dnsx.A))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(response.Rcode, len(response.Answer), "answers,", response.Authority[0].Data, "knows more")
	// Output: NOERROR 0 answers, a.gtld-servers.net. knows more
}

func ExampleReverseName() {
	fmt.Println(dnsx.ReverseName(netip.MustParseAddr("192.0.2.1")))
	// Output: 1.2.0.192.in-addr.arpa.
}
