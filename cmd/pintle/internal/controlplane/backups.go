package controlplane

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/pintle-dev/pintle/cmd/pintle/internal/config"
	"github.com/pintle-dev/pintle/cmd/pintle/internal/layout"
	"github.com/pintle-dev/pintle/cmd/pintle/internal/release"
	"github.com/pintle-dev/pintle/core/apiserver"
	"github.com/pintle-dev/pintle/core/backup"
	"github.com/pintle-dev/pintle/core/backup/schedule"
	"github.com/pintle-dev/pintle/core/backup/target"
)

// addBackups serves backups and, where they are scheduled, makes ready what writes them.
func (s *Server) addBackups(cfg *apiserver.Config, metrics prometheus.Registerer) error {
	cluster := backup.Cluster{
		Store: s.store, ID: s.clusterID, Version: release.Version,
		Keys: func() ([]backup.File, error) { return clusterKeys(s.dir) },
	}
	if cfg.Handlers == nil {
		cfg.Handlers = map[string]http.Handler{}
	}
	cfg.Handlers[backup.Path] = &backup.Handler{
		Cluster: cluster, Authorizer: s.access.authorizer, User: apiserver.UserFrom, Logger: s.log,
	}
	b := s.cfg.Backup
	if b.To == "" {
		return nil
	}
	plan, err := schedule.NewPlan(b.Schedule, time.Duration(b.Every))
	if err != nil {
		return fmt.Errorf("backup.schedule: %w", err)
	}
	encryption := BackupEncryption(b)
	// What is wrong is said now and not at night.
	if _, err := encryption.Load(); err != nil {
		return fmt.Errorf("backup.%w", err)
	}
	place := func() (target.Target, error) { return target.New(b.To, S3Options(b.S3)) }
	if _, err := place(); err != nil {
		return fmt.Errorf("backup.to: %w", err)
	}
	s.backups = schedule.New(schedule.Config{
		Plan: plan, Keep: schedule.Keep(b.Keep), Lead: s.store, Target: place, Cluster: s.clusterID,
		Pin: func(ctx context.Context) (schedule.Pinned, error) {
			to, err := encryption.Load()
			if err != nil {
				return nil, err
			}
			return cluster.Pin(ctx, backup.Options{Keys: b.WithKeys(), Recipients: to})
		},
		Tell: s.tellBackup, Metrics: metrics, Logger: s.log.With("component", "backup"),
	})
	return nil
}

// runBackups writes scheduled backups from when the cluster has its first objects, and with them
// an identity.
func (s *Server) runBackups(ctx context.Context) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for !s.access.ready.Load() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
	return s.backups.Run(ctx)
}

// BackupEncryption is what the configuration says of it.
func BackupEncryption(b config.Backup) backup.Encryption {
	return backup.Encryption(b.Encryption)
}

// S3Options are what the configuration says of a server of buckets.
func S3Options(s config.BackupS3) target.S3Options { return target.S3Options(s) }

// clusterID is the UID of the namespace kube-system, by which clusters are told apart; "" before
// it is there.
func (s *Server) clusterID(ctx context.Context) string {
	o, err := s.store.Get(ctx, "namespaces//"+metav1.NamespaceSystem)
	if err != nil {
		return ""
	}
	var ns metav1.PartialObjectMetadata
	if json.Unmarshal(o.Data, &ns) != nil {
		return ""
	}
	return string(ns.UID)
}

// clusterKeys are what clients of the cluster rely on: its authorities and the keys that sign
// tokens. What an authority has signed for the servers themselves is made anew, and the servers'
// trust in each other belongs to one cluster only.
func clusterKeys(dir layout.Dir) ([]backup.File, error) {
	var out []backup.File
	add := func(path string) error {
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(string(dir), path)
		if err != nil {
			return err
		}
		out = append(out, backup.File{Path: filepath.ToSlash(rel), Data: data})
		return nil
	}
	certificates, err := filepath.Glob(filepath.Join(dir.PKI(), "*.crt"))
	if err != nil {
		return nil, err
	}
	for _, path := range certificates {
		if !isAuthority(path) {
			continue
		}
		if err := errors.Join(add(path), add(strings.TrimSuffix(path, ".crt")+".key")); err != nil {
			return nil, err
		}
	}
	err = filepath.WalkDir(dir.Keys(), func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		return add(path)
	})
	return out, err
}

func isAuthority(path string) bool {
	data, err := os.ReadFile(path)
	if err != nil {
		return false
	}
	block, _ := pem.Decode(data)
	if block == nil {
		return false
	}
	c, err := x509.ParseCertificate(block.Bytes)
	return err == nil && c.IsCA
}

// tellBackup shows the outcome of a scheduled backup as an event of the namespace kube-system,
// which stands for the cluster.
func (s *Server) tellBackup(ctx context.Context, what string, failed error) {
	admin, forget, err := s.loopback()
	if err != nil {
		return
	}
	defer forget()
	client, err := kubernetes.NewForConfig(admin)
	if err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	now := metav1.Now()
	e := &corev1.Event{
		ObjectMeta:          metav1.ObjectMeta{GenerateName: "pintle-backup.", Namespace: metav1.NamespaceDefault},
		InvolvedObject:      corev1.ObjectReference{APIVersion: "v1", Kind: "Namespace", Name: metav1.NamespaceSystem},
		Type:                corev1.EventTypeNormal,
		Reason:              "BackupMade",
		Message:             what,
		Source:              corev1.EventSource{Component: "pintle-backup"},
		FirstTimestamp:      now,
		LastTimestamp:       now,
		Count:               1,
		ReportingController: "pintle-backup",
	}
	if failed != nil {
		text := failed.Error()
		e.Type, e.Reason, e.Message = corev1.EventTypeWarning, "BackupFailed", text[:min(len(text), 1024)]
	}
	if _, err := client.CoreV1().Events(e.Namespace).Create(ctx, e, metav1.CreateOptions{}); err != nil {
		s.log.Warn("The outcome of a backup is not shown as an event", "error", err)
	}
}
