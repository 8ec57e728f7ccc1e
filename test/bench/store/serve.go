package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"os"
	"runtime/pprof"

	"github.com/pintle-dev/pintle/core/store"
	"github.com/pintle-dev/pintle/test/bench/store/front"
)

// serve is one member of the store's side: core/store with its defaults behind gRPC.
func serve(ctx context.Context, args []string) (err error) {
	flags := flag.NewFlagSet("serve", flag.ContinueOnError)
	dir := flags.String("dir", "", "directory of the store")
	listen := flags.String("listen", "", "address for clients")
	peer := flags.String("peer", "", "address for the other voters, and this one's name; empty: it stays alone")
	bootstrap := flags.Bool("bootstrap", false, "begin a cluster")
	driven := flags.Bool("drive", false, "work by itself as the standard input says")
	profile := flags.String("cpuprofile", "", "write a CPU profile of the whole run here")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *profile != "" {
		f, err := os.Create(*profile)
		if err != nil {
			return err
		}
		if err := pprof.StartCPUProfile(f); err != nil {
			return fmt.Errorf("profile: %w", err)
		}
		defer func() {
			pprof.StopCPUProfile()
			err = errors.Join(err, f.Close())
		}()
	}
	s, err := store.Open(ctx, store.Config{
		Dir: *dir, NodeID: *peer, Address: *peer, Bootstrap: *bootstrap,
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if *driven {
		go func() {
			if err := drive(ctx, s, os.Stdin, os.Stdout); err != nil {
				fmt.Fprintln(os.Stderr, "drive:", err)
			}
		}()
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", *listen)
	if err != nil {
		return err
	}
	return front.Serve(ctx, front.New(s, *peer), l)
}
