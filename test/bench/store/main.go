// Command store measures Pintle's store beside etcd, and logs for Raft beside one another:
//
//	store compare -etcd FILE    the same work for both, on one member and on three
//	store logs                  raft-wal, Badger and bolt under the store's load
//
// Its other commands are the processes that these start. README.md says what is compared.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "store:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	commands := map[string]func(context.Context, []string) error{
		"compare": compare, "logs": compareLogs, "serve": serve, "logload": logLoad, "logopen": logOpen,
	}
	if len(args) == 0 || commands[args[0]] == nil {
		return errors.New("want a command: compare or logs")
	}
	return commands[args[0]](ctx, args[1:])
}
