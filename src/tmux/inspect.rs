//! What can be told of tmux without changing anything: which one is installed, which one runs on the socket.

use super::command::Command;
use super::exec::words;
use super::server::Server;
use super::{Result, TmuxError};

impl Server {
    /// What `tmux -V` prints, however old it is: `tmux 3.3a`.
    pub async fn installed(&self) -> Result<String> {
        words(&self.inner.options).await
    }

    /// The version of the server that runs on the socket, in tmux's own word (`3.3a`); none where none runs. None is
    /// started.
    pub async fn running(&self) -> Result<Option<String>> {
        let command = Command::new("display-message").args(["-p", "#{version}"]);
        match self.exec("display-message", &[command]).await {
            Ok(lines) => Ok(lines.into_iter().next()),
            Err(TmuxError::NoServer) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
