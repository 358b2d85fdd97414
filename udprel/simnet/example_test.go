package simnet_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/zocalo-go/zocalo/udprel/simnet"
)

// Two hosts, and a link between them that loses each datagram with a
// probability of 30%. The same seed always loses the same ones.
func Example() {
	n := &simnet.Network{Seed: 4, Link: simnet.Link{Loss: 0.3}}
	server, err := n.Host(netip.MustParseAddr("10.0.0.1")).ListenPacket("udp", ":1060")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()
	client, err := n.Host(netip.MustParseAddr("10.0.0.2")).Dial("udp", "10.0.0.1:1060")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()

	for i := range 10 {
		fmt.Fprintf(client, "datagram %d", i)
	}
	server.SetReadDeadline(time.Now().Add(10 * time.Second))
	buf := make([]byte, 1500)
	for {
		k, from, err := server.ReadFrom(buf)
		fmt.Printf("%s from %v\n", buf[:k], from)
		if err != nil || string(buf[:k]) == "datagram 9" {
			break
		}
	}
	// Output:
	// datagram 0 from 10.0.0.2:49152
	// datagram 1 from 10.0.0.2:49152
	// datagram 2 from 10.0.0.2:49152
	// datagram 4 from 10.0.0.2:49152
	// datagram 5 from 10.0.0.2:49152
	// datagram 6 from 10.0.0.2:49152
	// datagram 7 from 10.0.0.2:49152
	// datagram 9 from 10.0.0.2:49152
}

// A slow way up, a clean way down, and a cut that heals.
func ExampleNetwork() {
	a, b := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	dropped := make(chan simnet.Drop, 1)
	n := &simnet.Network{Seed: 1, Trace: &simnet.Trace{
		Dropped: func(_ simnet.Packet, why simnet.Drop) { dropped <- why },
	}}
	n.SetLink(a, b, simnet.Link{Delay: 2 * time.Millisecond, Rate: 1_000_000})
	server, err := n.Host(b).ListenPacket("udp", ":7")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()
	client, err := n.Host(a).Dial("udp", "10.0.0.2:7")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()

	n.Partition([]netip.Addr{a}) // a alone, everybody else together
	fmt.Fprint(client, "lost")
	<-dropped
	n.Heal()
	fmt.Fprint(client, "hola")
	buf := make([]byte, 1500)
	k, _, err := server.ReadFrom(buf)
	fmt.Println(string(buf[:k]), err)
	fmt.Println(n.Stats(a, b).Packets, "sent,", n.Stats(a, b).Delivered, "delivered")
	// Output:
	// hola <nil>
	// 2 sent, 1 delivered
}

// A listener in memory serves as one of package net does.
func ExampleListener() {
	n := &simnet.Network{}
	var l net.Listener
	l, err := n.Host(netip.MustParseAddr("10.0.0.1")).Listen("tcp", "10.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(l.Addr())
	l.Close()
	_, err = l.Accept()
	fmt.Println(err)
	// Output:
	// 10.0.0.1:49152
	// accept tcp 10.0.0.1:49152: use of closed network connection
}

func ExampleParseLink() {
	l, err := simnet.ParseLink("rate=20mbit, queue=100kb, delay=40ms, loss=2%, burst=8")
	fmt.Println(l.Rate, l.Queue, l.Delay, l.Loss, l.Burst, err)
	fmt.Println(l)
	_, err = simnet.ParseLink("loss=200%")
	fmt.Println(err)
	// Output:
	// 20000000 100000 40ms 0.02 8 <nil>
	// rate=20mbit,queue=100kb,delay=40ms,loss=2%,burst=8
	// simnet: link "loss=200%": want a probability such as 0.02 or 2%
}

// A simulation of an access link of 1.5 Mbit/s, to which a packet of 1,500
// bytes comes every 6 ms although it needs 8.
func ExampleModel() {
	m := simnet.NewModel(simnet.Link{Rate: 1_500_000, Queue: 6000, Delay: 20 * time.Millisecond}, 1, 1)
	for i := range 15 {
		now := time.Duration(i) * 6 * time.Millisecond
		if f := m.Send(now, 1500); f.Drop != "" {
			fmt.Printf("%v: %s\n", now, f.Drop)
		} else if i%4 == 0 {
			fmt.Printf("%v: arrives at %v\n", now, f.Arrive)
		}
	}
	fmt.Println("longest wait", m.Stats().QueueDelayMax)
	// Output:
	// 0s: arrives at 28ms
	// 24ms: arrives at 60ms
	// 48ms: arrives at 92ms
	// 72ms: arrives at 124ms
	// 78ms: queue full
	// longest wait 24ms
}

// A web server and its client; net/http does not notice that there is no
// network.
func ExampleHost() {
	n := &simnet.Network{}
	l, err := n.Host(netip.MustParseAddr("2001:db8::1")).Listen("tcp", ":80")
	if err != nil {
		fmt.Println(err)
		return
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "hello, %s", r.RemoteAddr)
	})}
	defer server.Close()
	go server.Serve(l)

	client := &http.Client{Transport: &http.Transport{
		DialContext: n.Host(netip.MustParseAddr("2001:db8::2")).DialContext,
	}}
	resp, err := client.Get("http://[2001:db8::1]/")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	fmt.Println(resp.Status, string(body), err)
	// Output:
	// 200 OK hello, [2001:db8::2]:49152 <nil>
}

// The ladder of a conversation, as tcpdump would print it.
func ExampleTrace() {
	a, b := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	steps := make(chan string, 100)
	n := &simnet.Network{Trace: &simnet.Trace{
		Delivered: func(p simnet.Packet) {
			arrow := "-->"
			if p.From.Addr() == b {
				arrow = "<--"
			}
			steps <- fmt.Sprintf("a %s b  %s %q", arrow, p.Flags, p.Data)
		},
	}}
	l, err := n.Host(b).Listen("tcp", ":7")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer l.Close()
	c, err := n.Host(a).Dial("tcp", "10.0.0.2:7")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	fmt.Fprint(c, "hello")
	for range 5 {
		fmt.Println(<-steps)
	}
	// Output:
	// a --> b  SYN ""
	// a <-- b  SYN ACK ""
	// a --> b  ACK ""
	// a --> b  ACK "hello"
	// a <-- b  ACK ""
}

// A client behind a NAT that forgets: the server sees it at another port.
func ExamplePacketConn_Rebind() {
	n := &simnet.Network{}
	server, err := n.Host(netip.MustParseAddr("10.0.0.1")).ListenPacket("udp", ":53")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()
	client, err := n.Host(netip.MustParseAddr("10.0.0.2")).ListenPacket("udp", ":1000")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()
	for range 2 {
		client.WriteTo([]byte("?"), &net.UDPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 53})
		_, from, err := server.ReadFrom(make([]byte, 10))
		fmt.Println(from, err)
		client.Rebind(netip.AddrPort{})
	}
	// Output:
	// 10.0.0.2:1000 <nil>
	// 10.0.0.2:49152 <nil>
}

// The whole request is what comes before the end of the stream.
func ExampleConn_CloseWrite() {
	n := &simnet.Network{}
	l, err := n.Host(netip.MustParseAddr("10.0.0.1")).Listen("tcp", ":7")
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
		all, _ := io.ReadAll(c)
		fmt.Fprintf(c, "%d bytes", len(all))
	}()
	c, err := n.Host(netip.MustParseAddr("10.0.0.2")).Dial("tcp", "10.0.0.1:7")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	fmt.Fprint(c, "a message of unstated length")
	c.(*simnet.Conn).CloseWrite()
	answer, err := io.ReadAll(c)
	fmt.Println(string(answer), err)
	// Output:
	// 28 bytes <nil>
}

// A real client reaches a real server over a link with a delay of 5 ms.
func ExampleRelayUDP() {
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()
	relay, err := simnet.RelayUDP("127.0.0.1:0", server.LocalAddr().String(), &simnet.RelayConfig{
		Up: simnet.Link{Delay: 5 * time.Millisecond},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer relay.Close()
	client, err := net.Dial("udp", relay.Addr().String())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()

	start := time.Now()
	fmt.Fprint(client, "hola")
	buf := make([]byte, 1500)
	k, _, err := server.ReadFrom(buf)
	fmt.Println(string(buf[:k]), err, time.Since(start) >= 5*time.Millisecond)
	// Output:
	// hola <nil> true
}
