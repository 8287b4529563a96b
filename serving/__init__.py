"""What serving needs beside the servers: adapters checked and composed, and the old POST /chat."""
