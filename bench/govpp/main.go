// GoVPP on the machine and the VPP at hand, for bench/binapi.ts: one JSON object; by way of asking, requests per second and the CPU time
// of this process for one of them.
// Usage: govpp <api socket> <requests per run> <window>
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"

	"go.fd.io/govpp"
	"go.fd.io/govpp/api"
	"go.fd.io/govpp/binapi/fib_types"
	"go.fd.io/govpp/binapi/interface_types"
	"go.fd.io/govpp/binapi/ip"
	"go.fd.io/govpp/binapi/ip_types"
	"go.fd.io/govpp/binapi/memclnt"
	"go.fd.io/govpp/core"
)

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// A host route that drops, as the other contenders add it.
func route(i int, add bool) api.Message {
	prefix := ip_types.Prefix{Len: 32}
	prefix.Address.Af = ip_types.ADDRESS_IP4
	prefix.Address.Un.SetIP4(ip_types.IP4Address{10, byte(i >> 16), byte(i >> 8), byte(i)})
	path := fib_types.FibPath{
		SwIfIndex: uint32(interface_types.InterfaceIndex(^uint32(0))),
		RpfID:     ^uint32(0),
		Weight:    1,
		Type:      fib_types.FIB_API_PATH_TYPE_DROP,
		Proto:     fib_types.FIB_API_PATH_NH_PROTO_IP4,
	}
	return &ip.IPRouteAddDel{IsAdd: add, Route: ip.IPRoute{Prefix: prefix, NPaths: 1, Paths: []fib_types.FibPath{path}}}
}

func ping(int) api.Message { return &memclnt.ControlPing{} }

func retval(reply api.Message) error {
	switch reply := reply.(type) {
	case *ip.IPRouteAddDelReply:
		return api.RetvalToVPPApiError(reply.Retval)
	case *memclnt.ControlPingReply:
		return api.RetvalToVPPApiError(reply.Retval)
	}
	return fmt.Errorf("unexpected %T", reply)
}

type contender struct {
	conn   *core.Connection
	count  int
	window int
}

type figures struct {
	PerSecond float64 `json:"per_second"`
	CPUMicros float64 `json:"cpu_us"`
}

// cpu is the time that this process has had of all CPUs, the kernel's work for it included.
func cpu() time.Duration {
	var usage syscall.Rusage
	check(syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func measure(count int, run func()) figures {
	start, before := time.Now(), cpu()
	run()
	took, used := time.Since(start), cpu()-before
	return figures{float64(count) / took.Seconds(), used.Seconds() * 1e6 / float64(count)}
}

// stream keeps the window full: one goroutine sends, this one receives.
func (c contender) stream(request func(int) api.Message) {
	stream, err := c.conn.NewStream(context.Background(), core.WithRequestSize(c.window), core.WithReplySize(c.window))
	check(err)
	defer stream.Close()
	inFlight := make(chan struct{}, c.window)
	go func() {
		for i := 0; i < c.count; i++ {
			inFlight <- struct{}{}
			check(stream.SendMsg(request(i)))
		}
	}()
	for i := 0; i < c.count; i++ {
		reply, err := stream.RecvMsg()
		check(err)
		check(retval(reply))
		<-inFlight
	}
}

// channel does the same with the older interface.
func (c contender) channel(request func(int) api.Message, newReply func() api.Message) {
	channel, err := c.conn.NewAPIChannelBuffered(c.window, c.window)
	check(err)
	defer channel.Close()
	pending := make(chan api.RequestCtx, c.window)
	go func() {
		for i := 0; i < c.count; i++ {
			pending <- channel.SendRequest(request(i))
		}
	}()
	for i := 0; i < c.count; i++ {
		reply := newReply()
		check((<-pending).ReceiveReply(reply))
		check(retval(reply))
	}
}

func (c contender) oneAtATime(request func(int) api.Message, count int, newReply func() api.Message) {
	for i := 0; i < count; i++ {
		reply := newReply()
		check(c.conn.Invoke(context.Background(), request(i), reply))
		check(retval(reply))
	}
}

func main() {
	count, err := strconv.Atoi(os.Args[2])
	check(err)
	window, err := strconv.Atoi(os.Args[3])
	check(err)
	conn, err := govpp.Connect(os.Args[1])
	check(err)
	defer conn.Disconnect()
	c := contender{conn, count, window}

	add := func(i int) api.Message { return route(i, true) }
	del := func(i int) api.Message { return route(i, false) }
	newPing := func() api.Message { return &memclnt.ControlPingReply{} }
	newRoute := func() api.Message { return &ip.IPRouteAddDelReply{} }
	serial := count / 40

	all := map[string]figures{}
	all["ping stream"] = measure(count, func() { c.stream(ping) })
	all["ping channel"] = measure(count, func() { c.channel(ping, newPing) })
	all["ping serial"] = measure(serial, func() { c.oneAtATime(ping, serial, newPing) })
	all["route stream"] = measure(count, func() { c.stream(add) })
	c.stream(del)
	all["route channel"] = measure(count, func() { c.channel(add, newRoute) })
	c.stream(del)
	all["route serial"] = measure(serial, func() { c.oneAtATime(add, serial, newRoute) })
	c.oneAtATime(del, serial, newRoute)
	check(json.NewEncoder(os.Stdout).Encode(all))
}
