// Package backup holds backups to their promise with real processes: what is restored is what
// was there at one moment, whatever was written meanwhile; clients of before go on; and nothing
// but a whole backup is ever taken for one, in a directory and on a real S3 server (s3server, a
// module of its own).
//
// It knows the command line, the API and the places of backups.
package backup
