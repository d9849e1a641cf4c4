//! Processes run beside a container's first one.
#![expect(
    missing_docs,
    reason = "members are the Engine API's own; its specification documents them"
)]

use crate::Words;
use crate::go::is_zero;

documents! {
    /// Body of `POST /containers/{id}/exec`.
    #[derive(Eq)]
    pub struct ExecCreateBody {
        pub user: String,
        pub privileged: bool,
        pub tty: bool,
        #[serde(skip_serializing_if = "is_zero")]
        pub console_size: Option<[u32; 2]>,
        pub attach_stdin: bool,
        pub attach_stderr: bool,
        pub attach_stdout: bool,
        pub detach: bool,
        pub detach_keys: String,
        pub env: Option<Vec<String>>,
        pub working_dir: String,
        pub cmd: Option<Words>,
    }

    /// Answer of `POST /containers/{id}/exec`.
    #[derive(Eq)]
    pub struct ExecCreated {
        pub id: String,
    }

    /// Body of `POST /exec/{id}/start`.
    #[derive(Eq)]
    pub struct ExecStartBody {
        pub detach: bool,
        pub tty: bool,
        #[serde(skip_serializing_if = "is_zero")]
        pub console_size: Option<[u32; 2]>,
    }

    /// Answer of `GET /exec/{id}/json`.
    #[derive(Eq)]
    pub struct ExecInspect {
        #[serde(rename = "ID")]
        pub id: String,
        pub running: bool,
        /// `null` until the process has ended.
        pub exit_code: Option<i32>,
        pub process_config: ExecProcess,
        pub open_stdin: bool,
        pub open_stderr: bool,
        pub open_stdout: bool,
        pub can_remove: bool,
        #[serde(rename = "ContainerID")]
        pub container_id: String,
        /// Base64 of the key codes.
        pub detach_keys: String,
        pub pid: i32,
    }

    /// The process of an exec. Its members are in small letters.
    #[derive(Eq)]
    pub struct ExecProcess {
        #[serde(rename = "tty")]
        pub tty: bool,
        #[serde(rename = "entrypoint")]
        pub entrypoint: String,
        #[serde(rename = "arguments")]
        pub arguments: Vec<String>,
        #[serde(rename = "privileged", skip_serializing_if = "is_zero")]
        pub privileged: Option<bool>,
        #[serde(rename = "user", skip_serializing_if = "is_zero")]
        pub user: String,
    }
}
