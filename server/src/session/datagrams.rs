//! The server's UDP socket as quinn uses it, with fewer system calls than quinn's own: it is watched for what comes in
//! alone, and a read that did not fill its buffers is not followed by one that finds nothing.

use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use parking_lot::Mutex;
use quinn::udp::{RecvMeta, Transmit, UdpSocketState};
use quinn::{AsyncUdpSocket, UdpPoller};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A socket.
#[derive(Debug)]
pub struct Datagrams {
    /// Not watched for room to write: each packet that the system is done with would wake a thread.
    io: AsyncFd<UdpSocket>,
    state: UdpSocketState,
    /// The same socket, watched for room, while the system has none.
    full: Mutex<Option<Arc<AsyncFd<UdpSocket>>>>,
}

/// Has tokio watch it.
#[expect(deprecated, reason = "for types that lie about their descriptor; what replaces it is `unsafe`")]
fn watch(socket: UdpSocket, interest: Interest) -> io::Result<AsyncFd<UdpSocket>> {
    AsyncFd::with_interest(socket, interest)
}

impl Datagrams {
    /// In a tokio runtime.
    ///
    /// # Errors
    /// When the system refuses to set it up or to watch it.
    pub fn new(socket: UdpSocket) -> io::Result<Datagrams> {
        socket.set_nonblocking(true)?;
        let state = UdpSocketState::new((&socket).into())?;
        Ok(Datagrams { io: watch(socket, Interest::READABLE)?, state, full: Mutex::new(None) })
    }

    /// The system has no room: from now on it is watched for that.
    fn fill(&self) -> io::Result<()> {
        let mut full = self.full.lock();
        if full.is_none() {
            *full = Some(Arc::new(watch(self.io.get_ref().try_clone()?, Interest::WRITABLE)?));
        }
        Ok(())
    }

    /// There was room again. Who waits was woken by then.
    fn empty(&self, watched: &Arc<AsyncFd<UdpSocket>>) {
        let mut full = self.full.lock();
        if full.as_ref().is_some_and(|full| Arc::ptr_eq(full, watched)) {
            *full = None;
        }
    }
}

impl AsyncUdpSocket for Datagrams {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(Room { socket: self, waiting: None })
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let watched = self.full.lock().clone();
        let Some(watched) = watched else {
            let sent = self.state.send(self.io.get_ref().into(), transmit);
            if sent.as_ref().is_err_and(|e| e.kind() == io::ErrorKind::WouldBlock) && self.fill().is_err() {
                // There is no descriptor to wait with. Any other error would be the end of the connection; what is lost is
                // sent again.
                return Ok(());
            }
            return sent;
        };
        // In here, so that room that is made meanwhile is not taken for that of before.
        watched.try_io(Interest::WRITABLE, |same| self.state.send(same.into(), transmit))?;
        self.empty(&watched);
        Ok(())
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        loop {
            let mut readable = ready!(self.io.poll_read_ready(cx))?;
            match self.state.recv(self.io.get_ref().into(), bufs, meta) {
                Ok(count) => {
                    // There was no more. What comes from now on makes it readable anew.
                    if count < bufs.len() {
                        readable.clear_ready();
                    }
                    return Poll::Ready(Ok(count));
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => readable.clear_ready(),
                // Of one packet; quinn would end the endpoint for it. One that stays must not hold up everything else.
                Err(_) => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.get_ref().local_addr()
    }

    fn may_fragment(&self) -> bool {
        self.state.may_fragment()
    }

    fn max_transmit_segments(&self) -> usize {
        self.state.max_gso_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.state.gro_segments()
    }
}

type Waiting = Pin<Box<dyn Future<Output = io::Result<()>> + Send + Sync>>;

/// One connection's wait for room.
struct Room {
    socket: Arc<Datagrams>,
    waiting: Option<Waiting>,
}

impl fmt::Debug for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Room").field("waits", &self.waiting.is_some()).finish_non_exhaustive()
    }
}

impl UdpPoller for Room {
    fn poll_writable(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.waiting.is_none() {
            let watched = self.socket.full.lock().clone();
            let Some(watched) = watched else { return Poll::Ready(Ok(())) };
            self.waiting = Some(Box::pin(async move { watched.writable().await.map(drop) }));
        }
        let Some(waiting) = &mut self.waiting else { return Poll::Ready(Ok(())) };
        let done = ready!(waiting.as_mut().poll(cx));
        self.waiting = None;
        Poll::Ready(done)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use quinn::udp::BATCH_SIZE;

    use super::*;

    const WITHIN: Duration = Duration::from_secs(10);

    fn on_a_free_port() -> UdpSocket {
        UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()
    }

    async fn receive(socket: &Datagrams) -> usize {
        let mut space = vec![[0; 64]; BATCH_SIZE];
        let mut bufs: Vec<IoSliceMut<'_>> = space.iter_mut().map(|b| IoSliceMut::new(b)).collect();
        let mut meta = [RecvMeta::default(); BATCH_SIZE];
        let received = std::future::poll_fn(|cx| socket.poll_recv(cx, &mut bufs, &mut meta));
        let count = tokio::time::timeout(WITHIN, received).await.unwrap().unwrap();
        meta.iter().take(count).map(|meta| meta.len.div_ceil(meta.stride)).sum()
    }

    #[tokio::test]
    async fn what_comes_after_a_read_that_took_all_is_noticed() {
        let socket = Datagrams::new(on_a_free_port()).unwrap();
        let to = socket.local_addr().unwrap();
        let peer = on_a_free_port();
        for round in 1..=3 * BATCH_SIZE {
            let count = if round % 7 == 0 { 2 * BATCH_SIZE } else { 1 };
            (0..count).for_each(|_| assert_eq!(peer.send_to(b"x", to).unwrap(), 1));
            let mut got = 0;
            while got < count {
                got += receive(&socket).await;
            }
            assert_eq!(got, count, "round {round}");
        }
    }

    #[tokio::test]
    async fn who_finds_no_room_is_woken_when_there_is_some() {
        let socket = Arc::new(Datagrams::new(on_a_free_port()).unwrap());
        let peer = on_a_free_port();
        let transmit = Transmit {
            destination: peer.local_addr().unwrap(),
            ecn: None,
            contents: b"x",
            segment_size: None,
            src_ip: None,
        };
        let mut room = Arc::clone(&socket).create_io_poller();
        for _ in 0..3 {
            // As if the system had refused: there is room at once, and that has to be noticed.
            socket.fill().unwrap();
            let writable = std::future::poll_fn(|cx| room.as_mut().poll_writable(cx));
            tokio::time::timeout(WITHIN, writable).await.unwrap().unwrap();
            socket.try_send(&transmit).unwrap();
            assert!(socket.full.lock().is_none(), "it is watched for room that there is");
            let mut got = [0; 8];
            assert_eq!(peer.recv(&mut got).unwrap(), 1);
        }
    }
}
