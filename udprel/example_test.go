package udprel_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	"github.com/zocalo-go/zocalo/udprel"
	"github.com/zocalo-go/zocalo/udprel/simnet"
)

// A server that answers in capitals would be no longer: a connection is a
// net.Conn, a listener a net.Listener.
func Example() {
	ctx := context.Background()
	l, err := udprel.Listen("udp", "127.0.0.1:0", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer l.Close()
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		io.Copy(c, c) // echo
	}()

	c, err := udprel.Dial(ctx, "udp", l.Addr().String(), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	fmt.Fprint(c, "hola")
	c.CloseWrite()
	answer, err := io.ReadAll(c)
	fmt.Printf("%s %v\n", answer, err)
	// Output: hola <nil>
}

// Messages on two lanes. Each arrives whole; the order holds within a lane.
func ExampleConn_Send() {
	ctx := context.Background()
	l, err := udprel.Listen("udp", "127.0.0.1:0", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer l.Close()
	c, err := udprel.Dial(ctx, "udp", l.Addr().String(), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	c.Send(ctx, []byte("a line of a chat"), udprel.Delivery{Lane: 1})
	c.Send(ctx, []byte("and another"), udprel.Delivery{Lane: 1})

	server, err := l.AcceptConn(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()
	for range 2 {
		m, err := server.Receive(ctx)
		fmt.Printf("lane %d: %s %v\n", m.Lane, m.Data, err)
	}
	// Output:
	// lane 1: a line of a chat <nil>
	// lane 1: and another <nil>
}

// An endpoint runs on any net.PacketConn: here on a network in memory that
// loses one packet in five.
func ExampleEndpoint() {
	n := &simnet.Network{Seed: 1, Link: simnet.Link{Delay: 5 * time.Millisecond, Loss: 0.2}}
	server, err := n.Host(netip.MustParseAddr("10.0.0.1")).ListenPacket("udp", ":1060")
	if err != nil {
		fmt.Println(err)
		return
	}
	client, err := n.Host(netip.MustParseAddr("10.0.0.2")).ListenPacket("udp", ":0")
	if err != nil {
		fmt.Println(err)
		return
	}
	a, b := udprel.NewEndpoint(client, nil), udprel.NewEndpoint(server, nil)
	defer b.Close()
	defer a.Close()

	l, err := b.Listen()
	if err != nil {
		fmt.Println(err)
		return
	}
	c, err := a.Dial(context.Background(), net.UDPAddrFromAddrPort(netip.MustParseAddrPort("10.0.0.1:1060")))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Fprint(c, "through the storm")
	c.CloseWrite()
	s, err := l.Accept()
	if err != nil {
		fmt.Println(err)
		return
	}
	got, err := io.ReadAll(s)
	fmt.Printf("%s %v\n", got, err)
	// Output: through the storm <nil>
}

// A listener of its own choice of congestion control.
func ExampleListen() {
	l, err := udprel.Listen("udp4", "127.0.0.1:0", &udprel.Config{Congestion: udprel.NewCubic})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(l.Addr().Network())
	l.Close()
	_, err = l.Accept()
	fmt.Println(err != nil)
	// Output:
	// udp
	// true
}
