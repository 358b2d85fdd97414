package main

import (
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// onlyPort is a program that the kernel runs over each packet, from the
// Ethernet header on, to see whether it is worth passing on: TCP or UDP, from
// or to the port. Without it everything that the machine sends and receives
// would have to go through this program, and what matters might get lost.
// The machine that it is written for is described in McCanne and Jacobson,
// "The BSD Packet Filter", 1993.
func onlyPort(port uint16) []bpf.Instruction {
	const (
		kind = 12 // where the Ethernet header says what follows
		ip   = 14 // where that begins
	)
	return []bpf.Instruction{
		bpf.LoadAbsolute{Off: kind, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.ETH_P_IPV6, SkipTrue: 11},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.ETH_P_IP, SkipTrue: 20},
		// IPv4: the protocol, no fragment but the first, and the ports, which
		// come after a header whose length is in its first byte.
		bpf.LoadAbsolute{Off: ip + 9, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: protocolTCP, SkipTrue: 1},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: protocolUDP, SkipTrue: 17},
		bpf.LoadAbsolute{Off: ip + 6, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: 0x1fff, SkipTrue: 15},
		bpf.LoadMemShift{Off: ip},
		bpf.LoadIndirect{Off: ip, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(port), SkipTrue: 11},
		bpf.LoadIndirect{Off: ip + 2, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(port), SkipTrue: 9, SkipFalse: 10},
		// IPv6: the same after a header of 40 bytes. Where one of the two usual
		// extension headers comes first, decode shall look for itself.
		bpf.LoadAbsolute{Off: ip + 6, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: protocolTCP, SkipTrue: 3},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: protocolUDP, SkipTrue: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: fragment, SkipTrue: 5},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: hopByHop, SkipTrue: 4, SkipFalse: 5},
		bpf.LoadAbsolute{Off: ip + 40, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(port), SkipTrue: 2},
		bpf.LoadAbsolute{Off: ip + 42, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: uint32(port), SkipTrue: 1},
		bpf.RetConstant{Val: maxCaptured},
		bpf.RetConstant{Val: 0},
	}
}

// attach makes the kernel run the program over what the socket would receive.
func attach(fd int, program []bpf.Instruction) error {
	raw, err := bpf.Assemble(program)
	if err != nil {
		return err
	}
	filter := make([]unix.SockFilter, len(raw))
	for i, in := range raw {
		filter[i] = unix.SockFilter{Code: in.Op, Jt: in.Jt, Jf: in.Jf, K: in.K}
	}
	return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
		&unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]})
}
