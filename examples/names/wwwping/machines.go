package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"github.com/zocalo-go/zocalo/udprel/simnet"
)

// machines are the hosts of the Internet in memory, as far as they have web
// servers or faults. All others are off: packets to them vanish.
type machines struct {
	listeners []net.Listener
	wg        sync.WaitGroup
}

// openMachines starts the web servers, good ones and bad ones.
func openMachines(network *simnet.Network, port int) (*machines, error) {
	m := &machines{}
	addr := netip.MustParseAddr
	network.Host(addr("10.53.10.4")) // four.example.com is on, and nobody listens there
	for _, server := range []struct {
		host  *simnet.Host
		serve func(net.Conn)
	}{
		{network.Host(addr("10.53.10.10"), addr("2001:db8:53:10::10")), web}, // www.example.com
		{network.Host(addr("10.53.12.11")), reset},                           // www.example.org
		{network.Host(addr("10.53.12.12")), reset},
		{network.Host(addr("10.53.12.13")), reset},
		{network.Host(addr("10.53.14.10")), hangUp}, // www.unizocalo.es
	} {
		ln, err := server.host.Listen("tcp", fmt.Sprintf(":%d", port))
		if err != nil {
			m.close()
			return nil, err
		}
		m.listeners = append(m.listeners, ln)
		m.wg.Go(func() {
			for {
				conn, err := ln.Accept()
				if err != nil {
					return
				}
				server.serve(conn)
				conn.Close()
			}
		})
	}
	return m, nil
}

// web answers one request, as a server does that has the pages of several hosts
// at one address: the request must say which.
func web(conn net.Conn) {
	conn.SetDeadline(time.Now().Add(time.Second))
	request, err := http.ReadRequest(bufio.NewReader(conn))
	if err != nil {
		return
	}
	switch request.Host {
	case "www.example.com", "ftp.example.com":
		fmt.Fprint(conn, "HTTP/1.0 200 OK\r\n\r\n")
	default:
		fmt.Fprint(conn, "HTTP/1.0 404 Not Found\r\n\r\n")
	}
}

// reset breaks the connection off, as a server does whose program has crashed.
func reset(conn net.Conn) { conn.(*simnet.Conn).Reset() }

// hangUp closes the connection without a word.
func hangUp(conn net.Conn) {
	conn.SetDeadline(time.Now().Add(time.Second))
	conn.Read(make([]byte, 1000)) // what is not read would make a reset of the close
}

// unreachable is a network to which no way leads: that of alfa.co.uk.
var unreachable = netip.MustParsePrefix("10.53.15.0/24")

// router returns a dial function for a machine behind a router that says so, as
// real ones do by ICMP, when it knows no way.
func router(dial func(ctx context.Context, network, address string) (net.Conn, error)) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		to, err := netip.ParseAddrPort(address)
		if err == nil && unreachable.Contains(to.Addr()) && network == "tcp" {
			return nil, &net.OpError{Op: "dial", Net: network, Addr: net.TCPAddrFromAddrPort(to), Err: syscall.EHOSTUNREACH}
		}
		return dial(ctx, network, address)
	}
}

// close ends the servers.
func (m *machines) close() {
	for _, ln := range m.listeners {
		ln.Close()
	}
	m.wg.Wait()
}
